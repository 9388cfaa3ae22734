//! A configuration that can't be used, and certificates that end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::words::{ago, time};
use super::{Attention, AttentionSubject, Urgency};
use crate::receive::TlsServer;
use crate::run::{ReloadError, Router};

/// A certificate that ends within this time is told of.
const NEAR: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let report = router.report();
    let failed = report.last_error.as_ref().map(|(at, error)| {
        let text = format!(
            "The configuration was changed {} ago and can't be used, so that version {} stays in use: {}.",
            ago(*at),
            report.version,
            first_problem(error)
        );
        Attention::new(Urgency::Error, "reload_failed", AttentionSubject::Configuration, text)
            .since(Some(*at))
    });
    let ending = report.certificates.iter().filter_map(|(listener, tls)| of_certificate(listener, tls));
    failed.into_iter().chain(ending).collect()
}

/// What is wrong with a configuration, in one line.
pub(in crate::admin) fn first_problem(error: &ReloadError) -> String {
    let ReloadError::Problems(problems) = error else { return error.to_string() };
    let Some(first) = problems.list.first() else { return error.to_string() };
    match problems.list.len() - 1 {
        0 => format!("{first:#}"),
        more => format!("{first:#} ({more} more)"),
    }
}

fn of_certificate(listener: &Arc<str>, tls: &TlsServer) -> Option<Attention> {
    let now = SystemTime::now();
    let expires = tls.certificate_expiry().filter(|expires| *expires < now + NEAR)?;
    let (urgency, when) = match expires.duration_since(now) {
        Ok(left) => (Urgency::Warning, format!("ends in {}: then no sender connects any more", time(left))),
        Err(past) => {
            (Urgency::Error, format!("has ended {} ago, so that no sender connects", time(past.duration())))
        }
    };
    let text = format!(
        "The certificate of `{listener}` {when}. Put a new one into `{}`: it is used without a restart.",
        tls.certificate_file().display()
    );
    let subject = AttentionSubject::Certificate(listener.to_string());
    Some(Attention::new(urgency, "certificate_expires", subject, text))
}
