//! Unpacks the files that `build.rs` has packed and embedded.

use std::io::Read as _;

use flate2::read::GzDecoder;

/// The contents of a packed file.
pub(crate) fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut contents).expect("`build.rs` has packed it");
    contents
}
