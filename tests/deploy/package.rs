//! The Debian package: what is in it, and that it is installed, started and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tools::{output, root, run, tools_directory};

/// Makes the package of the program that is tested, once. `make dist` makes the one of a release in the same way.
fn package() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_sluice"));
        let built = program.parent().unwrap();
        let profile = if built.ends_with("debug") { "dev" } else { "release" };
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sluice.deb");
        let mut build = Command::new(root("deploy/debian/build"));
        run(build.args([&file, program]).arg(profile).env("SLUICE_TOOLS", tools_directory()));
        file
    })
}

/// The content of the package in a directory.
fn extracted() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb").arg("--extract").arg(package()).arg(directory.path()));
    directory
}

#[test]
fn the_package_has_a_service_manual_pages_and_completions() {
    let content = extracted();
    for file in [
        "usr/bin/sluice",
        "usr/lib/systemd/system/sluice.service",
        "etc/sluice/sluice.yaml",
        "usr/share/man/man1/sluice.1.gz",
        "usr/share/man/man1/sluice-run.1.gz",
        "usr/share/bash-completion/completions/sluice",
        "usr/share/zsh/vendor-completions/_sluice",
        "usr/share/fish/vendor_completions.d/sluice.fish",
        "usr/share/doc/sluice/copyright",
    ] {
        assert!(content.path().join(file).is_file(), "{file} is not in the package");
    }
    let about = run(Command::new("dpkg-deb").arg("--field").arg(package()));
    assert!(about.contains("Package: sluice\n") && about.contains("libc6"), "{about}");
    assert!(about.contains(&format!("Version: {}", env!("CARGO_PKG_VERSION"))), "{about}");
    run(Command::new("bash")
        .arg("-n")
        .arg(content.path().join("usr/share/bash-completion/completions/sluice")));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_service_as_it_is_installed() {
    let content = extracted();
    // What it wants and is wanted by is on a whole system.
    for name in ["sysinit", "basic", "shutdown", "network-online", "multi-user"] {
        fs::write(content.path().join(format!("usr/lib/systemd/system/{name}.target")), "[Unit]\n").unwrap();
    }
    for program in ["bin/kill", "usr/bin/kill"] {
        let program = content.path().join(program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/kill", program).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no", "--generators=no"])
        .arg(format!("--root={}", content.path().display()));
    let verified = output(verify.arg("sluice.service"));
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("sluice.service"), "{said}");
}

/// In a copy of this system that is in memory and goes with the test, without any of its services, and with a network of its own.
#[test]
fn the_package_is_installed_started_and_removed() {
    let user = run(Command::new("id").arg("-u"));
    if user.trim() != "0" {
        println!("not run: to install a package needs root");
        return;
    }
    let mut install = Command::new("unshare");
    install
        .args(["--mount", "--net", "--pid", "--fork"])
        .arg(root("tests/deploy/debian/install.sh"))
        .arg(package());
    let said = run(&mut install);
    assert!(said.ends_with("installed, started, upgraded, removed and purged\n"), "{said}");
}
