//! File names made from routing keys, which senders choose.
//!
//! Two keys never share a name, a name is never `.` or `..`, starts with no dot and no dash, and is made of
//! ASCII letters, digits, `-`, `.`, `_`, `%` and (where it was shortened) `~`. File systems that don't tell
//! upper from lower case are out of scope.

use std::fmt::Write as _;
use std::path::PathBuf;

use ring::digest::{SHA256, digest};

use crate::route::RoutingKey;

/// The longest name that is written out. File systems take 255 bytes; the rest is left to suffixes.
const MAX_PLAIN: usize = 200;

/// Bytes of a shortened name that are the hash: 128 bits, so that nobody can find two keys with the same one.
const HASH_HEX: usize = 32;

/// The ending of a stream's files.
const FILES: &str = ".jsonl";

/// The directory name of a stream without a routing key. No key has it, as `@` is always encoded.
const WITHOUT_KEY: &str = "@all";

/// The directory of a stream, below that of its exporter: one level for each part of its routing key.
pub(super) fn directory(key: Option<&RoutingKey>) -> PathBuf {
    let Some(key) = key else { return WITHOUT_KEY.into() };
    let mut directory = PathBuf::new();
    for (level, (_, value)) in key.parts().enumerate() {
        let name = file_name(value);
        // Beside the files of a stream whose key is only what is above.
        let is_file = level > 0 && name.ends_with(FILES);
        directory.push(if is_file { name.replace('.', "%2E") } else { name });
    }
    if directory.as_os_str().is_empty() { file_name(&key.text()).into() } else { directory }
}

/// A file name for a routing key, or a part of it.
fn file_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => name.push(byte.into()),
            b'-' | b'.' if !name.is_empty() => name.push(byte.into()),
            _ => write!(name, "%{byte:02X}").expect("writing to a String can't fail"),
        }
    }
    if name.is_empty() {
        // No key is encoded as a lone percent sign.
        name.push('%');
    }
    if name.len() > MAX_PLAIN {
        name.truncate(MAX_PLAIN - HASH_HEX - 1);
        name.push('~');
        for byte in &digest(&SHA256, key.as_bytes()).as_ref()[..HASH_HEX / 2] {
            write!(name, "{byte:02x}").expect("writing to a String can't fail");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_keys_are_their_own_names() {
        for key in ["shop", "a.b-c_D9", "7"] {
            assert_eq!(file_name(key), key);
        }
    }

    #[test]
    fn names_never_leave_the_directory() {
        assert_eq!(file_name("."), "%2E");
        assert_eq!(file_name(".."), "%2E.");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(file_name("-rf"), "%2Drf");
        assert_eq!(file_name(""), "%");
    }

    #[test]
    fn long_keys_that_differ_in_one_byte_have_names_that_differ() {
        let long = "ü".repeat(256);
        let names: Vec<_> =
            [long.clone(), format!("{long}a"), format!("{long}b")].iter().map(|key| file_name(key)).collect();
        assert!(names.iter().all(|name| name.len() == MAX_PLAIN), "{names:?}");
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    }

    #[test]
    fn each_part_of_a_key_is_a_directory_and_none_is_where_files_are() {
        let directory = |parts: &[(&str, &str)]| {
            let key = RoutingKey::of(Some("acme"), "", parts.iter().copied());
            directory(Some(&key)).display().to_string()
        };
        assert_eq!(directory(&[("tenant", "acme"), ("service", "check/out")]), "acme/check%2Fout");
        assert_eq!(directory(&[("tenant", ".."), ("service", "..")]), "%2E./%2E.");
        assert_eq!(
            directory(&[("tenant", "logs.jsonl"), ("service", "logs.jsonl")]),
            "logs.jsonl/logs%2Ejsonl"
        );
    }

    #[test]
    fn no_key_has_the_name_of_streams_without_one() {
        assert_ne!(directory(Some(&RoutingKey::written("@all"))), directory(None));
    }

    proptest! {
        #[test]
        fn names_are_safe_and_tell_keys_apart(keys in prop::collection::vec("[-a.%~@/\\PC]{0,90}", 1..40)) {
            let mut seen: HashMap<String, String> = HashMap::new();
            for key in keys {
                let name = file_name(&key);
                prop_assert!(!name.is_empty() && name.len() <= MAX_PLAIN);
                prop_assert!(!name.starts_with(['.', '-']));
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._%~".contains(&byte)));
                let other = seen.entry(name).or_insert_with(|| key.clone());
                prop_assert_eq!(other.as_str(), key.as_str());
            }
        }

        #[test]
        fn a_plain_name_can_be_decoded_back(key in "\\PC{0,60}") {
            let name = file_name(&key);
            prop_assume!(!name.contains('~') && !key.is_empty());
            let decoded = percent_encoding::percent_decode_str(&name).decode_utf8().unwrap();
            prop_assert_eq!(decoded, key);
        }
    }
}
