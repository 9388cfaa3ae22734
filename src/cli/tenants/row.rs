//! The options that describe a tenant's row, as the JSON of the API.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgGroup, Args, Command};
use serde_json::{Map, Value, json};

use crate::config::LARGEST_ROW;

/// The limits of a row.
const LIMITS: [&str; 5] = ["rate", "burst", "streams", "memory", "journal"];

/// The options for a row.
#[derive(Args, Debug)]
pub(super) struct RowArgs {
    /// A word for people
    #[arg(long, value_name = "TEXT")]
    platform: Option<String>,
    /// A value for templates; of one name, several are tried in their order. What is secret is better kept in a file: others on
    /// this machine can see arguments
    #[arg(long = "value", value_parser = NamedText, value_name = "NAME=VALUE")]
    values: Vec<(String, String)>,
    /// The same from a file, without its last line break. These come after those of `--value`
    #[arg(long = "value-file", value_parser = NamedText, value_name = "NAME=PATH")]
    value_files: Vec<(String, String)>,
    /// An exporter, instead of those of the route; may be given several times
    #[arg(long = "exporter", value_name = "NAME")]
    exporters: Vec<String>,
    /// How much of something the tenant may have: `rate=10MiB/s`, `burst=20MiB`, `streams=1000`, `memory=64MiB` or
    /// `journal=2GiB`; what has no limit may have what all share
    #[arg(long = "limit", value_parser = parse_limit, value_name = "NAME=AMOUNT")]
    limits: Vec<(String, String)>,
}

/// Change what a tenant's row says
///
/// What is given is changed, and all else of the row stays. Of a value, all texts are replaced by those that are given for its
/// name, and of exporters all.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice tenants set acme --limit rate=10MiB/s --limit streams=1000
  sluice tenants set acme --value-file token=./acme-upstream-token
  sluice tenants set acme --exporter otlp_http/eu --remove limits.rate")]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args([
    "platform", "values", "value_files", "exporters", "limits", "removed",
]))]
pub(super) struct SetArgs {
    /// The tenant's id
    pub(super) id: String,
    #[command(flatten)]
    row: RowArgs,
    /// What the row is to say no more: `platform`, `values`, `exporters`, `limits`, or one of them as in `values.token` and
    /// `limits.rate`
    #[arg(long = "remove", value_parser = parse_key, value_name = "KEY")]
    removed: Vec<String>,
}

impl RowArgs {
    /// The keys of the row with their values. The error is for the person who typed the options.
    pub(super) fn fields(&self) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        if let Some(platform) = &self.platform {
            fields.insert("platform".to_owned(), json!(platform));
        }
        let values = self.values()?;
        if !values.is_empty() {
            fields.insert("values".to_owned(), values.into());
        }
        if !self.exporters.is_empty() {
            fields.insert("exporters".to_owned(), json!(self.exporters));
        }
        let mut limits = Map::new();
        for (name, amount) in &self.limits {
            // In JSON, the number of streams is a number, and the other limits are texts.
            let amount = amount.parse::<u64>().map_or_else(|_| json!(amount), |number| json!(number));
            if limits.insert(name.clone(), amount).is_some() {
                return Err(format!("`--limit {name}=…` is given twice"));
            }
        }
        if !limits.is_empty() {
            fields.insert("limits".to_owned(), limits.into());
        }
        Ok(fields)
    }

    fn values(&self) -> Result<Map<String, Value>, String> {
        let mut values: Map<String, Value> = Map::new();
        let mut add = |name: &str, text: String| match values.get_mut(name) {
            None => drop(values.insert(name.to_owned(), json!(text))),
            Some(Value::Array(texts)) => texts.push(json!(text)),
            Some(first) => *first = json!([first.take(), text]),
        };
        for (name, value) in &self.values {
            add(name, value.clone());
        }
        for (name, file) in &self.value_files {
            let text = read_value(file).map_err(|error| format!("can't read `{file}`: {error}"))?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            add(name, text.strip_suffix('\r').unwrap_or(text).to_owned());
        }
        Ok(values)
    }
}

/// Reads a value from a file, which is not larger than a row.
fn read_value(file: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(LARGEST_ROW as u64 + 1).read_to_string(&mut text)?;
    if text.len() > LARGEST_ROW {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {LARGEST_ROW} bytes"),
        ));
    }
    Ok(text)
}

impl SetArgs {
    /// The JSON merge patch of these options. The error is for the person who typed them.
    pub(super) fn patch(&self) -> Result<Map<String, Value>, String> {
        let mut patch = self.row.fields()?;
        for key in &self.removed {
            let is_free = match key.split_once('.') {
                None => patch.insert(key.clone(), Value::Null).is_none(),
                Some((key, name)) => {
                    let below = patch.entry(key).or_insert_with(|| json!({})).as_object_mut();
                    below.is_some_and(|below| below.insert(name.to_owned(), Value::Null).is_none())
                }
            };
            if !is_free {
                return Err(format!("`{key}` is named twice: to be removed, and once more"));
            }
        }
        Ok(patch)
    }
}

/// Reads a name, `=` and a text. The error doesn't repeat the argument, as clap would do with a parsing function: it may be a secret.
#[derive(Clone)]
struct NamedText;

impl TypedValueParser for NamedText {
    type Value = (String, String);

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        if let Some((name, text)) = value.to_str().and_then(|value| value.split_once('=')) {
            return Ok((name.to_owned(), text.to_owned()));
        }
        let argument = argument.map(ToString::to_string).unwrap_or_default();
        let message = format!("write a name, `=` and a text, in UTF-8, for `{argument}`\n");
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}

fn parse_limit(text: &str) -> Result<(String, String), String> {
    let (name, amount) =
        text.split_once('=').ok_or("write a name, `=` and an amount, such as `rate=10MiB/s`")?;
    check_limit(name)?;
    Ok((name.to_owned(), amount.to_owned()))
}

/// Reads a key of a row. Unknown keys are refused here: in a merge patch the API would take an unknown key with `null` for one that is
/// absent.
fn parse_key(text: &str) -> Result<String, String> {
    match text.split_once('.') {
        None if ["platform", "values", "exporters", "limits"].contains(&text) => {}
        Some(("values", name)) if !name.is_empty() => {}
        Some(("limits", name)) => check_limit(name)?,
        _ => {
            return Err("write `platform`, `values`, `values.NAME`, `exporters`, `limits` or `limits.NAME`"
                .to_owned());
        }
    }
    Ok(text.to_owned())
}

fn check_limit(name: &str) -> Result<(), String> {
    if LIMITS.contains(&name) { Ok(()) } else { Err(format!("the limits are `{}`", LIMITS.join("`, `"))) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct SetCommand {
        #[command(flatten)]
        args: SetArgs,
    }

    /// The patch of `sluice tenants set acme` with these arguments.
    fn patch(args: &[&str]) -> Result<Value, String> {
        let command = SetCommand::try_parse_from(["set", "acme"].iter().chain(args));
        command.map_err(|error| error.to_string())?.args.patch().map(Value::from)
    }

    #[test]
    fn values_of_one_name_are_a_list_in_their_order_and_files_come_last() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\r\n").unwrap();
        let from_file = format!("token={}", file.path().display());
        let args = [
            "--value-file",
            &from_file,
            "--value",
            "host=a=b",
            "--value",
            "token=one",
            "--value",
            "token=two",
        ];
        let values = json!({ "host": "a=b", "token": ["one", "two", "from a file"] });
        assert_eq!(patch(&args), Ok(json!({ "values": values })));
        let missing = patch(&["--value-file", "token=./no/such/file"]).unwrap_err();
        assert!(missing.contains("can't read `./no/such/file`"), "{missing}");
        for option in ["--value", "--value-file"] {
            let said = patch(&[option, "s3cret"]).unwrap_err();
            assert!(said.contains("write a name, `=` and a text") && said.contains(option), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn what_is_given_and_what_is_removed_make_one_patch() {
        let args = "--platform node --exporter a --exporter b --limit rate=10MiB/s --limit streams=5 \
                    --remove limits.burst --remove values.old.one --remove values.token";
        let expected = json!({
            "platform": "node",
            "exporters": ["a", "b"],
            "limits": { "rate": "10MiB/s", "streams": 5, "burst": null },
            "values": { "old.one": null, "token": null },
        });
        assert_eq!(patch(&args.split(' ').collect::<Vec<_>>()), Ok(expected));
        let args = ["platform", "values", "exporters", "limits"].map(|key| ["--remove", key]).concat();
        let expected = json!({ "platform": null, "values": null, "exporters": null, "limits": null });
        assert_eq!(patch(&args), Ok(expected));
    }

    #[test]
    fn what_would_change_nothing_or_two_things_at_once_is_refused() {
        for (args, said) in [
            ("", "--platform <TEXT>|--value <NAME=VALUE>"),
            ("--remove platfrom", "write `platform`"),
            ("--remove senders", "write `platform`"),
            ("--remove id", "write `platform`"),
            ("--remove values.", "write `platform`"),
            ("--remove platform.x", "write `platform`"),
            ("--remove limits.rtae", "the limits are `rate`, `burst`"),
            ("--limit rtae=5", "the limits are `rate`, `burst`"),
            ("--limit 5", "such as `rate=10MiB/s`"),
            ("--limit rate=1B/s --limit rate=2B/s", "`--limit rate=…` is given twice"),
            ("--platform x --remove platform", "`platform` is named twice"),
            ("--limit rate=1B/s --remove limits", "`limits` is named twice"),
            ("--limit rate=1B/s --remove limits.rate", "`limits.rate` is named twice"),
            ("--remove values --remove values.token", "`values.token` is named twice"),
        ] {
            let refused = patch(&args.split_whitespace().collect::<Vec<_>>()).unwrap_err();
            assert!(refused.contains(said), "{args}: {refused}");
        }
    }
}
