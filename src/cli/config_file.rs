//! `--config`, which means the same before a subcommand and behind it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{self, ConfigSource, RowCheck, SecretPresence};

/// Which configuration a command is about.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration; without it `SLUICE_CONFIG`, `./config/sluice.yaml`, or the built-in default
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file, if one is named.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Whether a configuration can't be used only because variables and files that it names are absent, so that it can be read without
/// them.
pub(super) fn lacks_secrets_alone(source: &ConfigSource, env: &dyn Fn(&str) -> Option<String>) -> bool {
    // A pipe can't be read again.
    let is_file = matches!(source, ConfigSource::File(path) if path.is_file());
    is_file && config::load_with(source, env, SecretPresence::Optional, RowCheck::Alone).is_ok()
}

/// Whether variables and files with secrets have to exist.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SecretsArgs {
    /// Go without the variables and files that the configuration names, where they are not there: a placeholder stands for
    /// each, and files of certificates are not read
    #[arg(long)]
    without_secrets: bool,
}

impl SecretsArgs {
    /// How the configuration is to be read.
    pub(super) fn secrets(self) -> SecretPresence {
        if self.without_secrets { SecretPresence::Optional } else { SecretPresence::Needed }
    }
}

/// The file that is named, by either option or by both; an error for people if two differ.
pub(super) fn only_one<'a>(
    named: impl IntoIterator<Item = Option<&'a Path>>,
) -> Result<Option<&'a Path>, String> {
    let mut named = named.into_iter().flatten();
    let Some(first) = named.next() else { return Ok(None) };
    match named.find(|other| *other != first) {
        Some(other) => Err(format!(
            "two configurations are named, `{}` and `{}`: name one",
            first.display(),
            other.display()
        )),
        None => Ok(Some(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_named_twice_but_not_two_files() {
        let (one, two) = (Some(Path::new("one.yaml")), Some(Path::new("two.yaml")));
        assert_eq!(only_one([None, None]), Ok(None));
        assert_eq!(only_one([None, one]), Ok(one));
        assert_eq!(only_one([one, None, one]), Ok(one));
        let error = only_one([one, None, two]).unwrap_err();
        assert_eq!(error, "two configurations are named, `one.yaml` and `two.yaml`: name one");
    }
}
