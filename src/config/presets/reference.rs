//! The table of presets in `docs/configuration.md`, made from the one in the code so that it can't fall behind.

use std::fmt::Write as _;

use super::{CredentialScheme, PRESETS, Preset, PresetAccess};

/// The presets as Markdown: a table of how each upstream is reached, another one of the further options that are filled in, and below
/// it what else is to be known.
pub fn preset_reference() -> String {
    let mut out =
        "| preset | upstream | `endpoint` | signals | `token` | stream |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for preset in PRESETS {
        let row = [endpoints(preset), signals(preset), credential(preset), stream(preset)].join(" | ");
        writeln!(out, "| `{}` | {} | {row} |", preset.name, preset.upstream)
            .expect("writing to a String can't fail");
    }
    out.push_str("\n| preset | what else is filled in | from |\n|---|---|---|\n");
    for preset in PRESETS {
        let row = [options(preset), sources(preset)].join(" | ");
        writeln!(out, "| `{}` | {row} |", preset.name).expect("writing to a String can't fail");
    }
    out.push_str("\nTo be known of them:\n\n");
    for preset in PRESETS {
        let notes: Vec<String> = notes(preset).iter().map(|note| sentence(note)).collect();
        if !notes.is_empty() {
            writeln!(out, "- `{}`: {}", preset.name, notes.join(" "))
                .expect("writing to a String can't fail");
        }
    }
    out
}

/// A note as a sentence of its own.
fn sentence(note: &str) -> String {
    let (first, rest) = note.split_at(note.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.", first.to_uppercase())
}

fn endpoints(preset: &Preset) -> String {
    let one = |protocol: &str, access: &PresetAccess| match access.default {
        Some(default) if default == access.example => format!("{protocol}: `{default}`, if none is written"),
        Some(default) => {
            format!("{protocol}: `{default}`, if none such as `{}` is written", access.example)
        }
        None => format!("{protocol}: `{}`", access.example),
    };
    let http = preset.http.as_ref().map(|access| one("HTTP", access));
    let grpc = preset.grpc.as_ref().map(|access| one("gRPC", access));
    http.into_iter().chain(grpc).collect::<Vec<_>>().join("<br>")
}

fn signals(preset: &Preset) -> String {
    preset.signals.iter().map(|signal| signal.name()).collect::<Vec<_>>().join(", ")
}

fn credential(preset: &Preset) -> String {
    let Some(credential) = preset.credential else { return String::new() };
    let scheme = match credential.scheme {
        CredentialScheme::None => String::new(),
        scheme => format!(": {}…", scheme.prefix()),
    };
    format!("{}, in `{}{scheme}`", credential.what, credential.header)
}

fn stream(preset: &Preset) -> String {
    let attribute = preset.stream.attribute.map(|attribute| format!("the resource attribute `{attribute}`"));
    let headers = preset.stream.headers.iter().map(|(name, value)| format!("`{name}: {value}`"));
    attribute.into_iter().chain(headers).collect::<Vec<_>>().join("<br>")
}

/// Options of both protocols are written once.
fn options(preset: &Preset) -> String {
    let mut options: Vec<String> = Vec::new();
    for access in preset.http.iter().chain(&preset.grpc) {
        for (path, value) in access.options {
            let option = format!("`{}: {value}`", path.join("."));
            if !options.contains(&option) {
                options.push(option);
            }
        }
    }
    options.join("<br>")
}

fn notes(preset: &Preset) -> Vec<String> {
    let valid = preset.stream.valid.map(|(_, description)| description.to_owned());
    let largest = preset.largest.map(|largest| format!("it takes no request above {largest}"));
    let needs = preset.needs.iter().map(|(name, what)| format!("it needs the header `{name}`, {what}"));
    let note = Some(preset.note.to_owned()).filter(|note| !note.is_empty());
    valid.into_iter().chain(largest).chain(needs).chain(note).collect()
}

fn sources(preset: &Preset) -> String {
    let links = preset.sources.iter().enumerate().map(|(nth, url)| format!("[{}]({url})", nth + 1));
    links.collect::<Vec<_>>().join(", ")
}
