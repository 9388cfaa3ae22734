//! The Debian package: what is in it, and that it is installed, started and removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::blocks::files;
use crate::targets::broken_links;
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
        "usr/share/doc/sluice/docs/pictures/overview.png",
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

/// Checks that a directory is documentation by itself: every link of its pages leads somewhere in it, and Sluice takes every example.
fn check_documentation(directory: &Path, sluice: &Path) {
    let readme = fs::read_to_string(directory.join("README.md")).unwrap();
    assert!(readme.contains("](docs/systemd.md)") && readme.contains("](deploy/prometheus/alerts.yaml)"));
    let mut pages = Vec::new();
    files(directory, "md", &mut pages);
    assert!(pages.len() > 25, "{pages:?}");
    let broken: Vec<String> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let outside = |page: &PathBuf| {
        let depth = page.strip_prefix(directory).unwrap().components().count();
        fs::read_to_string(page).unwrap().contains(&format!("]({}", "../".repeat(depth)))
    };
    let outside: Vec<_> = pages.iter().filter(|page| outside(page)).collect();
    assert!(outside.is_empty(), "their links leave the directory: {outside:?}");
    let mut check = Command::new("sh");
    check.args(["-c", "exec \"$0\" check --without-secrets config/*.yaml"]).arg(sluice);
    run(check.current_dir(directory));
}

#[test]
fn documentation_and_examples_of_the_package_need_nothing_beside_it() {
    let content = extracted();
    let documents = content.path().join("usr/share/doc/sluice");
    check_documentation(&documents, &content.path().join("usr/bin/sluice"));
    let unit = fs::read_to_string(content.path().join("usr/lib/systemd/system/sluice.service")).unwrap();
    assert!(unit.contains(" file:///usr/share/doc/sluice/README.md\n"));
    let installed = fs::read_to_string(content.path().join("etc/sluice/sluice.yaml")).unwrap();
    assert!(installed.contains("cd /usr/share/doc/sluice && sluice check --without-secrets config/*.yaml\n"));
}

/// As docs/systemd.md says it.
#[test]
fn the_example_of_better_stack_runs_as_a_service() {
    let content = extracted();
    let examples = content.path().join("usr/share/doc/sluice/config");
    let state = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-r").arg(examples.join("tenants.d")).arg(state.path()));
    let example = fs::read_to_string(examples.join("better-stack.yaml")).unwrap();
    let file = state.path().join("sluice.yaml");
    fs::write(&file, example.replace("directory: ./config/tenants.d", "directory: ./tenants.d")).unwrap();
    let mut check = Command::new(content.path().join("usr/bin/sluice"));
    let said =
        run(check.args(["check", "--tenants", "--without-secrets"]).arg(&file).current_dir(state.path()));
    assert!(said.contains("globex"), "it has the rows: {said}");
}

#[test]
fn documentation_and_examples_of_the_archive_need_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (pages, layout) = (directory.path().join("pages"), directory.path().join("sluice"));
    let program = Path::new(env!("CARGO_BIN_EXE_sluice"));
    run(Command::new(root("deploy/pages")).args([program, &pages]));
    run(Command::new(root("deploy/layout")).args([&layout, program, &pages]));
    check_documentation(&layout, &layout.join("sluice"));
    for file in ["man/sluice.1", "completions/sluice.bash", "deploy/systemd/sluice.service"] {
        assert!(layout.join(file).is_file(), "{file} is not in the archive");
    }
}

/// And the README says it before somebody tries.
#[test]
fn a_release_says_what_it_is_made_with_where_that_is_missing() {
    let programs = tempfile::tempdir().unwrap();
    for program in ["sh", "dirname"] {
        let found = run(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
        symlink(found.trim_end(), programs.path().join(program)).unwrap();
    }
    let said = output(Command::new(root("deploy/dist")).env("PATH", programs.path()));
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let readme = fs::read_to_string(root("README.md")).unwrap();
    for needed in ["Go 1.25", "Python 3.10 with venv"] {
        assert!(said.contains(needed) && readme.contains(needed), "{needed}: {said}");
    }
    assert!(readme.contains("rustup"));
    for architecture in ["amd64", "arm64"] {
        let package = format!("sluice_{}_{architecture}.deb", env!("CARGO_PKG_VERSION"));
        assert!(readme.contains(&package), "{package}");
    }
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
