//! A secret that is in the configuration, or in a file that may change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

use super::settings::SecretSource;
use crate::{notice, regular};

/// How long a file is taken to be unchanged. An attempt after this time has it read again.
const RECHECK: Duration = Duration::from_secs(1);

/// No file with a secret is larger.
const LARGEST: u64 = 64 * 1024;

/// Why a secret can't be used. The messages name the extension and the file, and never what is in it.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The secret stands in the configuration.
    #[error("`{authenticator}`: a secret of the configuration can't be used: {reason}")]
    Text {
        /// The extension.
        authenticator: Arc<str>,
        /// Why it can't be used.
        reason: &'static str,
    },
    /// The secret stands in a file.
    #[error("`{authenticator}`: `{}` of `{option}` can't be used: {reason}", path.display())]
    File {
        /// The extension.
        authenticator: Arc<str>,
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it can't be read, or what is wrong with what it holds.
        reason: io::Error,
    },
}

/// The use of a secret, which decides which part of a file it is and which characters it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretUse {
    /// It is put into a header as it is. In a file it is the first line.
    Token,
    /// It is the user's name in HTTP's basic authentication.
    Username,
    /// It is encoded before it is sent.
    Encoded,
}

/// A secret and where it comes from.
pub(super) struct ReadSecret {
    authenticator: Arc<str>,
    file: Option<(&'static str, PathBuf)>,
    usage: SecretUse,
    state: Mutex<SecretState>,
}

struct SecretState {
    /// The last one that could be used.
    secret: Arc<SecretString>,
    /// When the file was last looked at; `None`: it is to be looked at.
    looked: Option<Instant>,
    /// How often reading the file has begun.
    begun: u64,
    /// The number, by `begun`, of the newest reading that has ended. One that began earlier and ends later is not used: what it
    /// has read may have been replaced before the newer one began.
    ended: u64,
}

impl fmt::Debug for ReadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadSecret").field("file", &self.file).finish_non_exhaustive()
    }
}

impl ReadSecret {
    /// Reads the file, if it is one, and blocks on it.
    pub(super) fn new(
        authenticator: &Arc<str>,
        source: &SecretSource,
        usage: SecretUse,
    ) -> Result<Self, SecretError> {
        let named = Arc::clone(authenticator);
        let (file, secret) = match source {
            SecretSource::Text(text) => {
                usage
                    .check(text.expose_secret())
                    .map_err(|reason| SecretError::Text { authenticator: named, reason })?;
                (None, text.clone())
            }
            SecretSource::File { option, path } => {
                let secret = read(path, usage).map_err(|reason| SecretError::File {
                    authenticator: named,
                    option,
                    path: path.clone(),
                    reason,
                })?;
                (Some((*option, path.clone())), secret)
            }
        };
        let state = Mutex::new(SecretState {
            secret: Arc::new(secret),
            looked: Some(Instant::now()),
            begun: 0,
            ended: 0,
        });
        Ok(Self { authenticator: Arc::clone(authenticator), file, usage, state })
    }

    /// The secret of now: the same [`Arc`] as long as it has not changed. A file that can't be used any more leaves the last
    /// good one in use, with a warning.
    pub(super) async fn current(&self) -> Arc<SecretString> {
        let Some((_, path)) = &self.file else { return Arc::clone(&self.state.lock().secret) };
        let reading = match self.state.lock().begin_reading() {
            Ok(reading) => reading,
            Err(secret) => return secret,
        };
        let (to_read, usage) = (path.clone(), self.usage);
        let read = tokio::task::spawn_blocking(move || read(&to_read, usage)).await;
        self.keep(reading, read.expect("reading a file neither panics nor is aborted"))
    }

    /// Takes what a reading of the file has come to; returns the secret of now.
    fn keep(&self, reading: u64, read: io::Result<SecretString>) -> Arc<SecretString> {
        let mut state = self.state.lock();
        let Some((option, path)) = &self.file else { return Arc::clone(&state.secret) };
        let (authenticator, path) = (&self.authenticator, path.display());
        match read {
            _ if !state.end_reading(reading) => {}
            Ok(secret) if secret.expose_secret() == state.secret.expose_secret() => {}
            Ok(secret) => {
                info!(%authenticator, "`{path}` of `{option}` has changed: what it holds now is sent from here on");
                state.secret = Arc::new(secret);
            }
            Err(reason) => {
                if let Some(suppressed) = notice::due(&(authenticator, option), "secret file") {
                    warn!(
                        %authenticator, suppressed,
                        "`{path}` of `{option}` can't be used, so what it last held is sent on: {reason}"
                    );
                }
            }
        }
        Arc::clone(&state.secret)
    }

    /// Has the file read before the secret is used again.
    pub(super) fn read_again(&self) {
        self.state.lock().looked = None;
    }
}

impl SecretState {
    /// Begins to read the file, and returns the number of that reading; or returns the secret, if the file was looked at lately.
    fn begin_reading(&mut self) -> Result<u64, Arc<SecretString>> {
        if self.looked.is_some_and(|looked| looked.elapsed() < RECHECK) {
            return Err(Arc::clone(&self.secret));
        }
        // Other attempts go on with the current secret while this one reads the file.
        self.looked = Some(Instant::now());
        self.begun += 1;
        Ok(self.begun)
    }

    /// Ends a reading; whether none that began later has ended before it.
    fn end_reading(&mut self, reading: u64) -> bool {
        let is_newest = self.ended < reading;
        self.ended = self.ended.max(reading);
        is_newest
    }
}

fn read(path: &Path, usage: SecretUse) -> io::Result<SecretString> {
    let bytes = regular::read(path, LARGEST)?;
    // The error's own text has none of the bytes.
    let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
    let secret = match usage {
        SecretUse::Token => text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default(),
        SecretUse::Username | SecretUse::Encoded => text.trim_end_matches(['\r', '\n']),
    };
    usage.check(secret).map_err(io::Error::other)?;
    Ok(SecretString::from(secret))
}

impl SecretUse {
    /// Says why a secret can't be used so.
    pub fn check(self, secret: &str) -> Result<(), &'static str> {
        if secret.is_empty() {
            return Err("it is empty");
        }
        match self {
            Self::Token if !secret.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("a token must be visible ASCII without spaces")
            }
            Self::Username if secret.contains(':') => Err("a user's name can't have a colon"),
            Self::Token | Self::Username | Self::Encoded => Ok(()),
        }
    }

    /// Says why what a file holds now can't be used so. Blocks on the file.
    pub fn check_file(self, path: &Path) -> io::Result<()> {
        read(path, self).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_began_before_a_newer_one_does_not_replace_what_that_one_has_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let source = SecretSource::File { option: "filename", path };
        let secret = ReadSecret::new(&"bearertokenauth".into(), &source, SecretUse::Token).unwrap();
        let begin = || {
            secret.read_again();
            secret.state.lock().begin_reading().unwrap()
        };
        let keep = |reading, read: Result<&str, &str>| {
            let read = read.map(SecretString::from).map_err(io::Error::other);
            secret.keep(reading, read).expose_secret().to_owned()
        };
        let (older, newer) = (begin(), begin());
        assert_eq!(keep(newer, Ok("new")), "new");
        assert_eq!(keep(older, Ok("revoked")), "new");
        // In the order in which they have begun, each replaces the one before.
        let (older, newer) = (begin(), begin());
        assert_eq!(keep(older, Ok("newer")), "newer");
        assert_eq!(keep(newer, Ok("newest")), "newest");
        let (older, newer) = (begin(), begin());
        assert_eq!(keep(newer, Err("gone")), "newest");
        assert_eq!(keep(older, Ok("revoked")), "newest");
    }
}
