//! Whatever the text, loading it ends, and with a report or a configuration.

use proptest::prelude::*;

use super::*;

/// Pieces of a configuration, so that arbitrary text gets beyond the parser.
const PIECES: [&str; 40] = [
    "receivers:",
    "exporters:",
    "routes:",
    "limits:",
    "admin:",
    "otlp:",
    "otlp_http/s2:",
    "file:",
    "debug:",
    "protocols:",
    "http:",
    "grpc:",
    "endpoint:",
    "headers:",
    "match:",
    "key:",
    "name:",
    "signals:",
    "sending_queue:",
    "batch:",
    "tls:",
    "timeout:",
    "memory:",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    " - ",
    " [",
    "] ",
    " { ",
    " }",
    ", ",
    " 5",
    " 50ms",
    " \"x\"",
    " ${env:A}",
    " &a",
    " *a",
    " {{ key }}",
];

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = load(&text).map_err(|problems| problems.to_string());
    }

    #[test]
    fn arbitrary_pieces_never_panic(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..60),
        value in any::<String>(),
    ) {
        let _ = load_with(&pieces.concat(), &|_| Some(value.clone())).map_err(|problems| problems.to_string());
    }

    #[test]
    fn a_good_text_with_a_change_anywhere_never_panics(at in any::<prop::sample::Index>(), piece in any::<char>()) {
        let source = include_str!("../../../config/collector-paste.yaml");
        let characters: Vec<char> = source.chars().collect();
        let at = at.index(characters.len());
        let mut changed = characters.clone();
        changed[at] = piece;
        let text: String = changed.iter().collect();
        let problems = load_with(&text, &|_| Some("s3cret-value".into()));
        let shown = match problems {
            Ok(compiled) => compiled.warnings.iter().map(ToString::to_string).collect(),
            Err(problems) => problems.to_string(),
        };
        prop_assert!(!shown.contains("s3cret-value"), "{}", shown);
        prop_assert!(!shown.contains("can't be read as a configuration"), "{}", shown);
    }
}
