//! The image that the Dockerfile makes.

use std::fs;
use std::path::Path;

#[test]
fn the_bases_of_the_image_are_pinned_by_their_digests() {
    let dockerfile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile")).unwrap();
    let bases: Vec<(&str, &str)> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('=')).collect();
    assert_eq!(bases.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["BUILDER", "BASE"]);
    for (name, image) in &bases {
        let (_, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{name} is {image}"));
        assert!(
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name} is {image}"
        );
    }
    let stages: Vec<&str> = dockerfile.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages.len(), 2);
    for (stage, (name, _)) in stages.iter().zip(&bases) {
        assert!(stage.contains(&format!("${{{name}}}")), "{stage}");
    }
}
