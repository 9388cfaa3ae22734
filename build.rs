//! Lists what `web/` holds for `src/admin/dashboard.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=web");
    let web = fs::canonicalize("web").expect("the dashboard is beside this file");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("assets.rs"), assets(&web)).expect("OUT_DIR is writable");
}

/// The files that browsers load of the dashboard, as a list of `Asset`s.
fn assets(web: &Path) -> String {
    let mut directories = vec![web.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the dashboard can be read") {
            let path = entry.expect("the dashboard can be read").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(web).expect("it is in there").to_string_lossy().replace('\\', "/");
            let content_type = match path.extension().and_then(|extension| extension.to_str()) {
                Some("html") => "text/html; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ if name.starts_with("vendor/LICENSE.") => "text/plain; charset=utf-8",
                _ => continue,
            };
            files.insert(name, (content_type, path));
        }
    }
    let mut list = String::from("static ASSETS: &[Asset] = &[\n");
    for (name, (content_type, path)) in files {
        let path = path.to_str().expect("the path to the sources is UTF-8");
        let body = format!("include_bytes!({path:?})");
        writeln!(list, "    Asset {{ path: {name:?}, content_type: {content_type:?}, body: {body} }},")
            .expect("a string takes everything");
    }
    list.push_str("];\n");
    list
}
