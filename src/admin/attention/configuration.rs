//! A configuration that can't be used, and certificates that end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::words::{ago, ended, time};
use super::{Attention, AttentionSubject, Urgency};
use crate::export::Exporter;
use crate::receive::TlsServer;
use crate::run::{ReloadError, Router};

/// A certificate that expires within this time is reported.
const NEAR: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn found(router: &Router) -> Vec<Attention> {
    let report = router.report();
    let failed = report.last_error.as_ref().map(|(at, error)| {
        let text = format!(
            "The configuration was changed {} ago and can't be used, so that version {} stays in use: {}",
            ago(*at),
            report.version,
            ended(&first_problem(error))
        );
        Attention::new(Urgency::Error, "reload_failed", AttentionSubject::Configuration, text)
            .since(Some(*at))
    });
    let ending = report.certificates.iter().filter_map(|(listener, tls)| of_certificate(listener, tls));
    let exporters = router.exporters();
    let shown = exporters.iter().filter_map(|exporter| of_client_certificate(exporter));
    failed.into_iter().chain(ending).chain(shown).collect()
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
    let (urgency, ends, is_over) = end_of(tls.certificate_expiry())?;
    let then = if is_over { "so that no sender connects" } else { "and then no sender connects any more" };
    let text = format!(
        "The certificate of `{listener}` {ends}, {then}. Put a new one into `{}`: it is used without a restart.",
        tls.certificate_file().display()
    );
    let subject = AttentionSubject::Certificate(listener.to_string());
    Some(Attention::new(urgency, "certificate_expires", subject, text))
}

fn of_client_certificate(exporter: &Exporter) -> Option<Attention> {
    let active = exporter.active();
    let (urgency, ends, is_over) = end_of(active.transport.certificate_expiry())?;
    let file = active.settings.upstream()?.tls.cert_file.as_ref()?.display();
    let then = if is_over {
        "so that upstreams that ask for one refuse it"
    } else {
        "and then upstreams that ask for one refuse it"
    };
    let name = exporter.name();
    let text = format!(
        "The client certificate of `{name}` {ends}, {then}. Put a new one into `{file}`: it is used without a restart."
    );
    let subject = AttentionSubject::ClientCertificate(name.to_string());
    let waits = exporter.registry().pending_bytes();
    Some(Attention::new(urgency, "certificate_expires", subject, text).with_pending(waits))
}

/// How urgent the expiry of a certificate is, when it is, in words, and whether it is over; `None` if it is far away.
fn end_of(expires: Option<SystemTime>) -> Option<(Urgency, String, bool)> {
    let now = SystemTime::now();
    let expires = expires.filter(|expires| *expires < now + NEAR)?;
    Some(match expires.duration_since(now) {
        Ok(left) => (Urgency::Warning, format!("ends in {}", time(left)), false),
        Err(past) => (Urgency::Error, format!("has ended {} ago", time(past.duration())), true),
    })
}
