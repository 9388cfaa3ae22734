//! The modules of others that the dashboard uses are those that their authors have published.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::setup::NEEDS;
use crate::support::install;

/// The files of a directory by their names.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn what_is_vendored_is_what_the_registry_has() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let fresh = tempfile::tempdir().unwrap();
    install::run(Command::new(web.join("vendor.sh")).arg(fresh.path()), NEEDS);
    let (here, there) = (files(&web.join("vendor")), files(fresh.path()));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&here), names(&there), "`make web-vendor` copies them anew");
    for (name, text) in here {
        assert!(
            text == there[&name],
            "web/vendor/{name} is not the registry's: `make web-vendor` copies it anew"
        );
    }
}
