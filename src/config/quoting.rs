//! How problems quote texts of a configuration: names and paths are quoted if they have the form of one, and so are no secret; long texts
//! are cut, and control characters are escaped.

use std::path::Path;

use crate::terminal::is_obeyed;

/// Stands for text that may be a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Quotes a text for a problem: cut if it is long, with control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out = String::from("`");
    for (index, char) in text.chars().enumerate() {
        if index == LONGEST {
            out.push('…');
            break;
        }
        if is_obeyed(char) { out.extend(char.escape_default()) } else { out.push(char) }
    }
    out.push('`');
    out
}

/// The nearest of `names` to `name`, if it is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    names
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count().min(12) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`, each quoted.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    enumerated(&names)
}

/// a, b and c.
pub(super) fn enumerated(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A name in backticks, if it has the form of one.
pub(super) fn named(name: &str) -> String {
    if is_name(name) { quoted(name) } else { format!("`{REDACTED}`") }
}

/// A path in backticks, if it has the form of one.
pub(super) fn path(path: &Path) -> String {
    let text = path.display().to_string();
    if is_path(&text) || is_name(&text) { quoted(&text) } else { format!("`{REDACTED}`") }
}

/// Whether a text has the form of a name, such as of an exporter, a route, an attribute: a few letters and digits, without the padding of
/// keys and tokens.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
}

/// Whether a text has the form of a path: names of limited length. It has to begin as paths do or have a dot, so that the text of a
/// secret key is no path.
pub(super) fn is_path(text: &str) -> bool {
    let segment = |text: &str| {
        text.len() <= 48 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte))
    };
    text.len() <= 255
        && (text.starts_with(['/', '.', '~']) || text.contains('.'))
        && text.split('/').all(segment)
}
