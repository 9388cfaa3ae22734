//! The system's trusted roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
//!
//! Once found they are kept for as long as the process runs: parsing them for every exporter at every reload would cost
//! more than it brings. If there are none, they are looked for again, since somebody may install them; but connections, of
//! which there may be thousands in a second, don't each look.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::RootCertStore;
use tokio::time::Instant;

use super::tls::RECHECK;

/// Where the roots come from, and what is known of them.
#[derive(Debug)]
pub(super) struct SystemRoots {
    read: fn() -> RootCertStore,
    known: Mutex<Known>,
}

#[derive(Debug)]
enum Known {
    Nothing,
    /// At least one.
    Found(Arc<RootCertStore>),
    /// There were none at that time.
    Missing(Instant),
}

impl SystemRoots {
    /// Roots that `read` finds when they are asked for.
    pub(super) const fn new(read: fn() -> RootCertStore) -> Self {
        Self { read, known: Mutex::new(Known::Nothing) }
    }

    /// Those of the machine.
    pub(super) fn of_process() -> &'static Self {
        static ROOTS: SystemRoots = SystemRoots::new(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        });
        &ROOTS
    }

    /// The roots, if the system has any now. Blocks on their files, unless they were found before.
    pub(super) fn get(&self) -> Option<Arc<RootCertStore>> {
        if let Known::Found(roots) = &*self.known.lock() {
            return Some(roots.clone());
        }
        // Not under the lock, which connections ask.
        let roots = Arc::new((self.read)());
        let is_missing = roots.is_empty();
        let mut known = self.known.lock();
        if let Known::Found(others) = &*known {
            return Some(others.clone());
        }
        *known = if is_missing { Known::Missing(Instant::now()) } else { Known::Found(roots.clone()) };
        (!is_missing).then_some(roots)
    }

    /// Whether [`SystemRoots::get`] found none less than [`RECHECK`] ago. Blocks on nothing.
    pub(super) fn were_missing_just_now(&self) -> bool {
        matches!(&*self.known.lock(), Known::Missing(at) if at.elapsed() < RECHECK)
    }

    /// As if roots that are missing had last been looked for long ago.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        if let Known::Missing(at) = &mut *self.known.lock() {
            *at -= RECHECK;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::CertificateDer;

    use super::*;

    #[test]
    fn roots_that_are_installed_later_are_found_and_then_kept() {
        static READS: AtomicUsize = AtomicUsize::new(0);
        fn from_the_third_read_on() -> RootCertStore {
            let mut roots = RootCertStore::empty();
            if READS.fetch_add(1, Ordering::SeqCst) >= 2 {
                let key = rcgen::KeyPair::generate().unwrap();
                let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
                roots.add(CertificateDer::from(certificate)).unwrap();
            }
            roots
        }
        let roots = SystemRoots::new(from_the_third_read_on);
        assert!(!roots.were_missing_just_now(), "nobody has looked");
        assert!(roots.get().is_none() && roots.were_missing_just_now());
        assert!(roots.get().is_none(), "whoever asks for them outright has them read again");
        roots.expire();
        assert!(!roots.were_missing_just_now());
        let found = roots.get().unwrap();
        assert!(Arc::ptr_eq(&found, &roots.get().unwrap()) && !roots.were_missing_just_now());
        assert_eq!(READS.load(Ordering::SeqCst), 3);
    }
}
