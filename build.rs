//! Packs what is embedded: what `web/` holds, with a list of it for `src/admin/dashboard.rs`, and the configuration's schema.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=web");
    let web = fs::canonicalize("web").expect("the dashboard is beside this file");
    fs::write(out.join("assets.rs"), assets(&web, &out)).expect("OUT_DIR is writable");
    let schema = Path::new("src/config/schema.json");
    println!("cargo::rerun-if-changed={}", schema.display());
    pack(schema, &out.join("schema.json.gz"));
}

/// Writes a file anew with gzip, which leaves a third of a text.
fn pack(file: &Path, packed: &Path) {
    let bytes = fs::read(file).expect("the sources can be read");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).expect("a vector takes everything");
    fs::write(packed, encoder.finish().expect("a vector takes everything")).expect("OUT_DIR is writable");
}

/// The files that browsers load of the dashboard, as a list of `Asset`s.
fn assets(web: &Path, out: &Path) -> String {
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
    for (number, (name, (content_type, path))) in files.into_iter().enumerate() {
        let packed = format!("asset-{number}.gz");
        pack(&path, &out.join(&packed));
        let body = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{packed}\"))");
        writeln!(list, "    Asset {{ path: {name:?}, content_type: {content_type:?}, packed: {body} }},")
            .expect("a string takes everything");
    }
    list.push_str("];\n");
    list
}
