#!/bin/sh
# Installs the package $1, starts the program as the unit does, and removes it: in a copy of this system that is in memory. Has to be run
# with a mount namespace and a network of its own.

set -eu

package=$1
step() { echo "== $*" >&2; }
fail() { echo "$*" >&2; exit 1; }

step "a copy of this system in memory"
mount --make-rprivate /
space=$(mktemp -d)
mount -t tmpfs tmpfs "$space"
mkdir "$space/upper" "$space/work" "$space/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$space/upper,workdir=$space/work" "$space/root"
root=$space/root
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cp "$package" "$root/tmp/sluice.deb"
in_root() { chroot "$root" "$@"; }
in_root ip link set lo up

step "install"
in_root dpkg --install /tmp/sluice.deb >&2
in_root id sluice >&2
[ "$(in_root stat -c '%U:%G %a' /etc/sluice/sluice.yaml)" = "root:sluice 640" ] || fail "others can read the configuration"
in_root sluice check /etc/sluice/sluice.yaml >&2
in_root grep -q 'sluice.yaml$' /var/lib/dpkg/info/sluice.conffiles || fail "the configuration is no conffile"

# As the unit does: its user, its state directory, its command.
start() {
    in_root install -d -o sluice -g sluice -m 0700 /var/lib/sluice
    # By no function of the shell, so that the signal goes to the program itself.
    chroot "$root" setpriv --reuid=sluice --regid=sluice --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
        sh -c 'cd /var/lib/sluice && umask 0077 && exec /usr/bin/sluice run --config /etc/sluice/sluice.yaml' >&2 &
    running=$!
    for _ in $(seq 300); do
        if in_root sluice health http://127.0.0.1:8888 >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "it does not become ready"
}

step "start"
start
in_root sluice send --streams 2 --duration 1s --rate 20 --attribute service.name >&2
kill -TERM "$running"
wait "$running" || fail "it did not end with 0"
[ -n "$(ls "$root/var/lib/sluice/data")" ] || fail "nothing is in /var/lib/sluice/data"
[ "$(in_root stat -c '%U %a' /var/lib/sluice/journal)" = "sluice 700" ] || fail "the journal is not Sluice's own"

step "upgrade, with a configuration that its owner has changed"
echo "# mine" >>"$root/etc/sluice/sluice.yaml"
in_root dpkg --install --force-confold /tmp/sluice.deb >&2
grep -q '^# mine$' "$root/etc/sluice/sluice.yaml" || fail "the upgrade has replaced the configuration"

step "remove"
in_root dpkg --remove sluice >&2
[ ! -e "$root/usr/bin/sluice" ] || fail "the program is still there"
[ -e "$root/etc/sluice/sluice.yaml" ] || fail "the configuration is gone"
[ -d "$root/var/lib/sluice/journal" ] || fail "what was queued is gone"

step "purge"
in_root dpkg --purge sluice >&2
[ ! -e "$root/etc/sluice" ] && [ ! -e "$root/var/lib/sluice" ] || fail "something is left"

echo "installed, started, upgraded, removed and purged"
