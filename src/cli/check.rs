//! `sluice check`: says everything that is wrong with a configuration.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::config_file::{ConfigArgs, SecretsArgs, lacks_secrets_alone};
use super::counted::counted;
use crate::config::{
    self, ConfigSource, Problem, RowCheck, RowReader, SecretPresence, TenantRows, TenantTable,
};
use crate::run;

/// Check a configuration without running it
///
/// Every problem is printed with its place, the line, and what to write instead. Exit code 0 if the configuration can be
/// used (there may be warnings), 1 if not.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  sluice check sluice.yaml
  sluice check --tenants sluice.yaml                  # every row of the table of tenants, too
  sluice check --without-secrets config/*.yaml        # where their variables and files are not there
  sluice check --quiet config/*.yaml                  # for a hook: only what is wrong
  sluice check --format json sluice.yaml | jq
  sluice import collector.yaml | sluice check -       # what another program writes")]
pub struct CheckArgs {
    /// The configuration, which `--config` may name as well; of several, each is checked by itself. `-` is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    secrets: SecretsArgs,
    /// Read every row of the table of tenants, too, and warn of those that lack what an exporter reads of them. Without this,
    /// those of a directory are not read, since a broken one costs itself alone.
    #[arg(long)]
    tenants: bool,
    /// Print problems alone: nothing about a file without any (with `--format json` an empty list), and not where placeholders
    /// stand for what is not there.
    #[arg(long, short)]
    quiet: bool,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// A list of objects with `severity`, `file`, `line`, `column`, `message` and `help`.
    Json,
}

impl CheckArgs {
    /// What is named, by either way; of several files the first.
    pub(super) fn configurations(&self) -> [Option<&Path>; 2] {
        [self.files.first().map(PathBuf::as_path), self.config.file()]
    }
}

/// The outcome of checking one configuration.
struct Checked {
    problems: Vec<Problem>,
    /// The number of rows of a directory of tenants that can be used, if they were read.
    rows: Option<String>,
    /// Whether the configuration can't be used only because variables or files are absent.
    lacks_secrets_alone: bool,
}

fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == config::Severity::Error)
}

/// Checks `source`, and the files that are named behind it, and prints to `out`; `env` looks up environment variables.
pub fn check(
    args: &CheckArgs,
    source: &ConfigSource,
    env: fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let others = args.files.iter().skip(1).map(|file| ConfigSource::named(file.clone()));
    let sources: Vec<ConfigSource> = std::iter::once(source.clone()).chain(others).collect();
    let mut all: Vec<Checked> = sources.iter().map(|source| check_one(args, source, env)).collect();
    if args.quiet {
        for checked in &mut all {
            checked.problems.retain(|problem| !problem.tells_of_placeholder());
        }
    }
    let secrets = args.secrets.secrets();
    match args.format {
        Format::Json => {
            let problems: Vec<&Problem> = all.iter().flat_map(|checked| &checked.problems).collect();
            serde_json::to_writer_pretty(&mut *out, &problems)?;
            writeln!(out)?;
        }
        Format::Text => {
            for (source, Checked { problems, rows, lacks_secrets_alone }) in sources.iter().zip(&all) {
                if args.quiet && problems.is_empty() {
                    continue;
                }
                for problem in problems {
                    writeln!(out, "{problem}")?;
                }
                if let Some(rows) = rows {
                    writeln!(out, "{rows}")?;
                }
                writeln!(out, "{source}: {}", verdict(problems, secrets))?;
                if *lacks_secrets_alone {
                    writeln!(
                        out,
                        "with the variables and files that are not there it can be used: `--without-secrets` checks all else"
                    )?;
                }
            }
        }
    }
    Ok(if all.iter().any(|checked| has_errors(&checked.problems)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn check_one(args: &CheckArgs, source: &ConfigSource, env: fn(&str) -> Option<String>) -> Checked {
    let secrets = args.secrets.secrets();
    let row_check = if args.tenants { RowCheck::WithExporters } else { RowCheck::Alone };
    let (mut problems, compiled) = match config::load_with(source, &env, secrets, row_check) {
        Ok(compiled) => (compiled.warnings.clone(), Some(compiled)),
        Err(problems) => (problems.list, None),
    };
    let lacks_secrets_alone =
        compiled.is_none() && secrets == SecretPresence::Needed && lacks_secrets_alone(source, &env);
    let mut rows = None;
    if args.tenants && compiled.as_ref().is_some_and(|compiled| compiled.tenants.is_none()) {
        let message =
            "it has no table of tenants to check: name the configuration that has `tenants:`".to_owned();
        problems.push(Problem::of_file(Path::new(&source.to_string()), message));
    }
    if let Some(compiled) = compiled
        && let Some(TenantTable { rows: TenantRows::Directory(directory), .. }) = &compiled.tenants
    {
        let checked = check_directory(
            directory,
            args.tenants.then(|| RowReader::new(&compiled, env, secrets, row_check)),
        );
        match checked {
            Ok((checked, of_rows)) => {
                problems.extend(of_rows);
                rows = checked.map(|checked| format!("{}: {checked}", directory.display()));
            }
            Err(_) if secrets == SecretPresence::Optional && !directory.exists() => {
                let message = "the directory of tenants is not there: its rows are not read".to_owned();
                problems.push(Problem::of_absence(directory, message));
            }
            Err(reason) => problems
                .push(Problem::of_file(directory, format!("can't read the directory of tenants: {reason}"))),
        }
    }
    Checked { problems, rows, lacks_secrets_alone }
}

/// Checks a directory of tenants, and with a reader each row: returns how many can be used, and the problems.
fn check_directory(
    directory: &Path,
    reader: Option<RowReader>,
) -> io::Result<(Option<String>, Vec<Problem>)> {
    let Some(reader) = reader else {
        std::fs::read_dir(directory)?;
        return Ok((None, Vec::new()));
    };
    let (ready, broken, problems) = run::check_tenants(directory, reader)?;
    Ok((Some(format!("{ready} of {} rows can be used", ready + broken)), problems))
}

/// `2 errors, 1 warning`.
fn verdict(problems: &[Problem], secrets: SecretPresence) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == config::Severity::Error).count() as u64;
    let warnings = problems.len() as u64 - errors;
    match (errors, warnings) {
        (0, 0) => "fine".to_owned(),
        (0, warnings) if secrets == SecretPresence::Optional => {
            format!(
                "can be used, as far as can be told without secrets, with {}",
                counted(warnings, "warning")
            )
        }
        (0, warnings) => format!("can be used, with {}", counted(warnings, "warning")),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn run(yaml: &str, options: &[&str]) -> (String, ExitCode) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sluice.yaml");
        std::fs::write(&file, yaml).unwrap();
        let args = Command::parse_from(["check"].iter().chain(options)).args;
        let mut out = Vec::new();
        let code = check(&args, &ConfigSource::File(file.clone()), |_| None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "sluice.yaml");
        (text, code)
    }

    #[test]
    fn a_good_file_exits_with_0() {
        let yaml = "receivers: { otlp: { protocols: { http: } } }\nexporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
        assert_eq!(run(yaml, &[]), ("sluice.yaml: fine\n".to_owned(), ExitCode::SUCCESS));
        let (text, code) = run(yaml, &["--tenants"]);
        let error = "sluice.yaml: error: it has no table of tenants to check: name the configuration that has `tenants:`\n";
        assert_eq!((text, code), (format!("{error}\nsluice.yaml: 1 error\n"), ExitCode::FAILURE));
    }

    #[test]
    fn of_several_files_each_is_checked_and_one_that_is_bad_fails_all() {
        let bad = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(&bad, "exporter: {}\n").unwrap();
        let good = "receivers: { otlp: { protocols: { http: } } }\nexporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
        let name = bad.path().to_str().unwrap();
        let (text, code) = run(good, &["sluice.yaml", name]);
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            text.starts_with(&format!("sluice.yaml: fine\n{name}:1:1: error: unknown key `exporter`")),
            "{text}"
        );
        let (text, _) = run(good, &["sluice.yaml", name, "--format", "json"]);
        let problems: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problems[0]["file"], name);
    }

    #[test]
    fn a_bad_file_exits_with_1_and_says_why() {
        let (text, code) = run("exporter: { debug: }\nroutes: []\n", &[]);
        assert_eq!(code, ExitCode::FAILURE);
        assert!(
            text.starts_with(
                "sluice.yaml:1:1: error: unknown key `exporter` in the top level; did you mean `exporters`?\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("sluice.yaml: 2 errors\n"), "{text}");
    }

    #[test]
    fn without_secrets_a_file_that_lacks_nothing_else_can_be_used() {
        let yaml = "receivers: { otlp: { protocols: { http: { tls: { cert_file: ./no, key_file: \"${env:KEY}\" } } } } }\n\
                    exporters: { otlp_http: { endpoint: \"${env:URL}\", timeout: \"${env:TIME}\", headers: { A: \"Bearer \
                    ${file:./no/such/file}\" }, tls: { ca_file: ./no } } }\nroutes: [{ exporters: [otlp_http] }]\n";
        let (text, code) = run(yaml, &[]);
        assert_eq!(code, ExitCode::FAILURE);
        assert!(text.contains("the environment variable `URL` is not set"), "{text}");
        let (text, code) = run(yaml, &["--without-secrets"]);
        assert_eq!(code, ExitCode::SUCCESS, "{text}");
        for said in [
            "the environment variable `KEY` is not set: a placeholder stands for it",
            "can't read the file `./no/such/file`: No such file or directory (os error 2): a placeholder stands for it",
            "the files of `tls` are not read",
            "sluice.yaml: can be used, as far as can be told without secrets, with 6 warnings",
        ] {
            assert!(text.contains(said), "{said}\n{text}");
        }
        let (_, code) = run(&yaml.replace("timeout", "timeuot"), &["--without-secrets"]);
        assert_eq!(code, ExitCode::FAILURE);
    }

    #[test]
    fn a_file_that_lacks_secrets_alone_is_told_apart_from_one_with_a_mistake() {
        let yaml = "receivers: { otlp: { protocols: { http: } } }\n\
                    exporters: { otlp_http: { endpoint: \"https://a.example.com\", headers: { A: \"${env:TOKEN}\" } } }\n\
                    routes: [{ exporters: [otlp_http] }]\n";
        let (text, code) = run(yaml, &[]);
        assert_eq!(code, ExitCode::FAILURE);
        let said = "sluice.yaml: 1 error\nwith the variables and files that are not there it can be used: `--without-secrets` checks all else\n";
        assert!(text.ends_with(said), "{text}");
        let (text, _) = run(&yaml.replace("headers", "heders"), &[]);
        assert!(!text.contains("--without-secrets"), "{text}");
    }

    #[test]
    fn a_quiet_check_says_nothing_of_a_file_without_problems() {
        let good = "receivers: { otlp: { protocols: { http: } } }\nexporters: { debug: }\nroutes: [{ exporters: [debug] }]\n";
        assert_eq!(run(good, &["--quiet"]), (String::new(), ExitCode::SUCCESS));
        for (yaml, code) in [
            (format!("{good}limit: {{}}\n"), ExitCode::FAILURE),
            (good.replace("http: }", "http: { endpoint: \"0.0.0.0:4318\" } }"), ExitCode::SUCCESS),
        ] {
            let (text, quiet_code) = run(&yaml, &["--quiet"]);
            assert_eq!((text, quiet_code), run(&yaml, &[]));
            assert_eq!(quiet_code, code);
        }
        let lacking =
            good.replace("debug:", "file: { path: \"${env:DIRECTORY}\" }").replace("[debug]", "[file]");
        assert_eq!(run(&lacking, &["--quiet", "--without-secrets"]), (String::new(), ExitCode::SUCCESS));
        assert_eq!(run(&lacking, &["--quiet"]).1, ExitCode::FAILURE);
        let (text, code) = run(&lacking, &["--quiet", "--without-secrets", "--format", "json"]);
        assert_eq!((&*text, code), ("[]\n", ExitCode::SUCCESS));
    }

    /// A configuration whose tenants are in a directory with these files, and that directory.
    fn with_tenants(files: &[(&str, &str)]) -> (String, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let yaml = format!(
            "receivers: {{ otlp: {{ protocols: {{ http: }} }} }}\nexporters: {{ debug: }}\nroutes: [{{ exporters: [debug] }}]\n\
             tenants: {{ directory: '{}' }}\n",
            directory.path().display()
        );
        (yaml, directory)
    }

    #[test]
    fn every_row_that_is_broken_is_listed_if_that_is_asked_for() {
        let sender = |id: &str| format!("id: {id}\nsenders: [{{ name: web, token: s3cret }}]\n");
        let (yaml, directory) = with_tenants(&[
            ("acme.yaml", &sender("acme")),
            ("globex.yaml", &sender("globex")),
            ("initech.yaml", "id: initech\nvalue: { host: s3cret }\n"),
            ("umbrella.yaml", "id: umbrella\n"),
        ]);
        let place = directory.path().to_str().unwrap();
        assert_eq!(
            run(&yaml, &[]),
            ("sluice.yaml: fine\n".to_owned(), ExitCode::SUCCESS),
            "they cost themselves alone"
        );
        let (text, code) = run(&yaml, &["--tenants"]);
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(
            text.replace(place, "tenants.d"),
            "tenants.d/initech.yaml:2:1: error: unknown key `value` in the top level; did you mean `values`?\n  |\n\
             2 | value: { host: [redacted] }\n  | ^^^^^\n\n\
             tenants.d/globex.yaml: error: the token of sender `web` is also that of sender `web` of tenant `acme` (`acme.yaml`)\n\n\
             tenants.d: 2 of 4 rows can be used\nsluice.yaml: 2 errors\n"
        );
    }

    #[test]
    fn a_directory_of_tenants_has_to_be_there() {
        let (yaml, directory) = with_tenants(&[]);
        drop(directory);
        for options in [&[][..], &["--tenants"]] {
            let (text, code) = run(&yaml, options);
            assert_eq!(code, ExitCode::FAILURE);
            assert!(text.contains("error: can't read the directory of tenants: No such file"), "{text}");
        }
    }

    #[test]
    fn without_secrets_the_rows_of_tenants_need_not_be_there() {
        let (yaml, directory) = with_tenants(&[]);
        drop(directory);
        let of_file = yaml.replace("tenants: { directory:", "tenants: { file:");
        for yaml in [&yaml, &of_file] {
            for options in [&["--without-secrets"][..], &["--without-secrets", "--tenants"]] {
                let (text, code) = run(yaml, options);
                assert_eq!(code, ExitCode::SUCCESS, "{text}");
                assert!(text.contains("is not there: its rows are not read"), "{text}");
            }
            let quiet = run(yaml, &["--without-secrets", "--quiet"]);
            assert_eq!(quiet, (String::new(), ExitCode::SUCCESS));
        }
        assert_eq!(run(&of_file, &[]).1, ExitCode::FAILURE);
    }

    #[test]
    fn problems_can_be_read_by_programs() {
        let (text, _) = run("exporter: {}\n", &["--format", "json"]);
        let problems: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problems[0]["line"], 1);
        assert_eq!(problems[0]["severity"], "error");
    }
}
