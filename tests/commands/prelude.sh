# What the commands of a page are run with, by bash.
set -eE -o pipefail
place=start
declare -A terminals logs
trap 'echo "$place: \`$BASH_COMMAND\` ended with $?" >&2; show' ERR
ip link set lo up

# An answer other than 2xx is a failure.
curl() { command curl --fail-with-body "$@"; }
export -f curl

# A block begins.
block() { place=$1; }

# Writes the block to a file.
write() {
    mkdir -p "$(readlink -m "$1/..")"
    cat >"$1"
}

# Runs the block, whose last command has to end with another code than 0.
fails() {
    local text code=0
    text=$(cat)
    bash -c "$text" || code=$?
    if [ $code = 0 ]; then
        echo "$place: it should end with another code than 0" >&2
        return 1
    fi
}

# Whether all of a process group is gone, a second later at most.
is_gone() {
    for _ in {1..20}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.05
    done
    return 1
}

# Ends what goes on in a terminal.
close() {
    local pid=${terminals[$1]:-}
    [ -n "$pid" ] || return 0
    kill -TERM -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    # What it ran may take its time to deliver the rest, which nobody waits for here.
    is_gone "$pid" || kill -KILL -- "-$pid" 2>/dev/null || true
    is_gone "$pid" || true
    unset "terminals[$1]"
}

# Runs the block in a terminal of its own, and waits until a server takes connections, or for a moment where it is none.
stays() {
    place=$1
    close "$2"
    logs[$2]=$(mktemp)
    cat >"${logs[$2]}.sh"
    set -m
    bash -e "${logs[$2]}.sh" >"${logs[$2]}" 2>&1 </dev/null &
    set +m
    terminals[$2]=$!
    local server=
    case $2 in sluice | sink* | kubectl) server=yes ;; esac
    for _ in {1..600}; do
        kill -0 "${terminals[$2]}" 2>/dev/null || break
        sleep 0.05
        [ -n "$server" ] || { sleep 0.5; return; }
        if grep -q -e 'admin on http' -e '^listening on' -e '^Forwarding from' "${logs[$2]}"; then return; fi
    done
    echo "$place: it does not go on" >&2
    return 1
}

# What was said in the terminals.
show() {
    local name
    for name in "${!logs[@]}"; do
        echo "--- terminal: $name" >&2
        tail -n 30 "${logs[$name]}" >&2
    done
}

# The page ends, and what goes on is still there.
end() {
    local name
    for name in "${!terminals[@]}"; do
        if ! kill -0 "${terminals[$name]}" 2>/dev/null; then
            echo "$place: what went on in the terminal of $name has ended" >&2
            show
            return 1
        fi
    done
}
