//! `--config`, which means the same before a subcommand and behind it.

use std::path::{Path, PathBuf};

use clap::Args;

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

/// The one file that is named, however often; an error for people if there are two.
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
