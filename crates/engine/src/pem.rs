//! Certificates and keys in PEM files: reading them, and what can be wrong with them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::regular;

/// No file of certificates is larger.
const LARGEST: u64 = 16 << 20;

/// Why a file of a `tls` block can't be used. The messages name the file and what to do.
#[derive(Debug, Error)]
pub enum PemError {
    /// It can't be read.
    #[error("can't read `{}` of `tls.{option}`: {source}", path.display())]
    Read {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It doesn't hold what it should.
    #[error("`{}` of `tls.{option}` holds no usable {expected}: {reason}", path.display())]
    Content {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The certificate and the key don't go together.
    #[error(
        "`tls.cert_file` and `tls.key_file` don't make an identity: {0}; check that the key belongs to the first certificate"
    )]
    Identity(String),
}

impl PemError {
    /// The option that is to blame.
    pub fn option(&self) -> &'static str {
        match self {
            Self::Read { option, .. } | Self::Content { option, .. } => option,
            Self::Identity(_) => "key_file",
        }
    }
}

/// The content of one file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    option: &'static str,
    path: PathBuf,
    text: Vec<u8>,
}

/// It may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [redacted]", self.path.display())
    }
}

impl Pem {
    /// Reads the file that `option` names. Blocks.
    pub(crate) fn read(option: &'static str, path: &Path) -> Result<Self, PemError> {
        let read = regular::read(path, LARGEST);
        let text = read.map_err(|source| PemError::Read { option, path: path.to_owned(), source })?;
        Ok(Self { option, path: path.to_owned(), text })
    }

    /// Its certificates, in the order of the file; at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| self.no("certificate", reason(&error)))?;
        if found.is_empty() {
            return Err(self.no("certificate", "there is no `BEGIN CERTIFICATE` in it"));
        }
        Ok(found)
    }

    /// When the first of its certificates ends that does; nothing if none can be read.
    pub(crate) fn expiry(&self) -> Option<SystemTime> {
        let certificates = self.certificates().ok()?;
        let ends = certificates.iter().filter_map(|certificate| {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        });
        ends.min()
    }

    /// Its certificates as authorities.
    pub(crate) fn authorities(&self) -> Result<RootCertStore, PemError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.no("certificate", error))?;
        }
        Ok(roots)
    }

    /// Its first private key.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, PemError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| self.no("private key", reason(&error)))
    }

    /// This file holds none of what is expected of it.
    pub(crate) fn no(&self, expected: &'static str, reason: impl fmt::Display) -> PemError {
        PemError::Content {
            option: self.option,
            path: self.path.clone(),
            expected,
            reason: reason.to_string(),
        }
    }
}

/// What is wrong with a text of PEM. The error's own text repeats lines of it, of which one may be the key: where the
/// line breaks are lost, all of it is one line.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a section that begins has no end (`-----END …-----`)",
        Error::IllegalSectionStart { .. } => {
            "a line that begins a section does not end in `-----`; are its line breaks lost?"
        }
        Error::Base64Decode(_) => "what stands in a section is not base64",
        Error::NoItemsFound => "no items found",
        Error::SectionTooLarge => "a section is larger than 10 MB",
        _ => "it can't be read as PEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_ends_with_the_first_of_its_certificates() {
        let certificate = |year| {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.pem");
        std::fs::write(&path, certificate(2040) + &certificate(2030)).unwrap();
        let expiry = Pem::read("cert_file", &path).unwrap().expiry();
        let beginning_of_2030 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
        assert_eq!(expiry, Some(beginning_of_2030));
        std::fs::write(&path, "no certificate").unwrap();
        assert_eq!(Pem::read("cert_file", &path).unwrap().expiry(), None);
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said_without_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        for text in [
            "-----BEGIN PRIVATE KEY----- s3cret -----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\ns3cret!\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\ns3cret\n",
            "-----BEGIN s3cret-----\nAAAA\n",
            "s3cret",
        ] {
            std::fs::write(&path, text).unwrap();
            let pem = Pem::read("key_file", &path).unwrap();
            let said = format!("{} {:?}", pem.key().unwrap_err(), pem.certificates().unwrap_err());
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
