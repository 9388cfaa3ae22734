//! The system's trusted roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
//!
//! Once found they are kept for as long as the process runs: parsing them for every exporter at every reload would cost
//! more than it brings. If there are none, they are looked for again, since somebody may install them: at each reload that
//! needs them, and otherwise every [`LOOK_AGAIN`], however many connections of however many exporters need them.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::RootCertStore;
use tokio::time::Instant;

/// How long roots that are missing are taken to be missing still, where a connection needs them.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The trusted roots of the system, as far as they have been looked for.
#[derive(Debug)]
pub(super) struct SystemRoots {
    read: fn() -> RootCertStore,
    known: Mutex<KnownRoots>,
    /// Held by the connection that looks for them, while others wait to learn from it.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum KnownRoots {
    Nothing,
    /// At least one root was found.
    Found(Arc<RootCertStore>),
    /// There were no roots at that time.
    Missing(Instant),
}

impl SystemRoots {
    /// Roots that `read` finds when they are asked for.
    pub(super) const fn new(read: fn() -> RootCertStore) -> Self {
        Self { read, known: Mutex::new(KnownRoots::Nothing), looking: tokio::sync::Mutex::const_new(()) }
    }

    /// The roots of the machine.
    pub(super) fn of_process() -> &'static Self {
        static ROOTS: SystemRoots = SystemRoots::new(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        });
        &ROOTS
    }

    /// The roots, if the system has any, for a connection: where there were none, it looks again once [`LOOK_AGAIN`] is over.
    pub(super) async fn get(&'static self) -> Option<Arc<RootCertStore>> {
        if let Poll::Ready(known) = self.known() {
            return known;
        }
        let _looking = self.looking.lock().await;
        if let Poll::Ready(known) = self.known() {
            return known;
        }
        let looked = tokio::task::spawn_blocking(|| self.look_now()).await;
        looked.expect("reading certificates neither panics nor is aborted")
    }

    /// The roots, if the system has any now: for whoever starts Sluice or reloads its configuration, perhaps just after having
    /// installed them. Blocks on their files, unless they were found before.
    pub(super) fn look_now(&self) -> Option<Arc<RootCertStore>> {
        if let KnownRoots::Found(roots) = &*self.known.lock() {
            return Some(roots.clone());
        }
        // Not under the lock, which connections ask.
        let roots = Arc::new((self.read)());
        let is_missing = roots.is_empty();
        let mut known = self.known.lock();
        if let KnownRoots::Found(others) = &*known {
            return Some(others.clone());
        }
        *known =
            if is_missing { KnownRoots::Missing(Instant::now()) } else { KnownRoots::Found(roots.clone()) };
        (!is_missing).then_some(roots)
    }

    /// The result of [`SystemRoots::get`], unless it has to look for the roots.
    fn known(&self) -> Poll<Option<Arc<RootCertStore>>> {
        match &*self.known.lock() {
            KnownRoots::Found(roots) => Poll::Ready(Some(roots.clone())),
            KnownRoots::Missing(at) if at.elapsed() < LOOK_AGAIN => Poll::Ready(None),
            KnownRoots::Missing(_) | KnownRoots::Nothing => Poll::Pending,
        }
    }

    /// As if roots that are missing had last been looked for long ago.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        if let KnownRoots::Missing(at) = &mut *self.known.lock() {
            *at -= LOOK_AGAIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::CertificateDer;

    use super::*;

    #[tokio::test]
    async fn roots_that_are_installed_later_are_found_and_then_kept() {
        static READS: AtomicUsize = AtomicUsize::new(0);
        fn from_the_fourth_read_on() -> RootCertStore {
            let mut roots = RootCertStore::empty();
            if READS.fetch_add(1, Ordering::SeqCst) >= 3 {
                let key = rcgen::KeyPair::generate().unwrap();
                let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
                roots.add(CertificateDer::from(certificate)).unwrap();
            }
            roots
        }
        static ROOTS: SystemRoots = SystemRoots::new(from_the_fourth_read_on);
        let reads = || READS.load(Ordering::SeqCst);
        assert!(ROOTS.get().await.is_none() && ROOTS.get().await.is_none());
        assert_eq!(reads(), 1, "a connection does not look so soon again");
        assert!(ROOTS.look_now().is_none());
        assert_eq!(reads(), 2, "a reload does");
        assert!(ROOTS.get().await.is_none());
        assert_eq!(reads(), 2, "and connections learn from it");
        ROOTS.expire();
        assert!(ROOTS.get().await.is_none());
        ROOTS.expire();
        let found = ROOTS.get().await.unwrap();
        assert!(Arc::ptr_eq(&found, &ROOTS.get().await.unwrap()));
        assert!(Arc::ptr_eq(&found, &ROOTS.look_now().unwrap()));
        assert_eq!(reads(), 4);
    }
}
