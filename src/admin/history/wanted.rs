//! The parameters of a request for a history.

use super::rings::HistoryRange;
use crate::admin::query;
use crate::admin::stream_detail::WrittenName;

/// The history that a request asks for.
#[derive(Debug)]
pub(in crate::admin) struct WantedHistory {
    pub(in crate::admin) subject: HistorySubject,
    pub(in crate::admin) range: HistoryRange,
}

/// The subject of a history.
#[derive(Debug)]
pub(in crate::admin) enum HistorySubject {
    /// All data.
    Whole,
    Exporter(String),
    Stream(WrittenName),
    Tenant(String),
}

/// Reads the query.
pub(in crate::admin) fn wanted(text: &str) -> Result<WantedHistory, String> {
    let (mut range, mut name) = (HistoryRange::Minutes, WrittenName::default());
    for (parameter, value) in query::parameters(text) {
        match (parameter, value.as_str()) {
            ("range", "15m") => range = HistoryRange::Minutes,
            ("range", "24h") => range = HistoryRange::Day,
            ("range", _) => return Err(format!("`range` is one of 15m, 24h, not `{value}`")),
            ("exporter", _) => name.exporter = Some(value),
            ("signal", _) => name.signal = Some(value),
            ("tenant", _) => name.tenant = Some(value),
            ("key", _) => name.key = Some(value),
            _ => {
                return Err(format!(
                    "unknown parameter `{parameter}`: there are range, exporter, signal, tenant and key"
                ));
            }
        }
    }
    let subject = subject(name)?;
    if range == HistoryRange::Day && matches!(subject, HistorySubject::Stream(_) | HistorySubject::Tenant(_))
    {
        return Err(
            "the history of a single stream or tenant goes back 15 minutes: write `range=15m`".to_owned()
        );
    }
    Ok(WantedHistory { subject, range })
}

/// The subject that these parameters name.
fn subject(name: WrittenName) -> Result<HistorySubject, String> {
    Ok(match name {
        WrittenName { exporter: None, signal: None, tenant: None, key: None } => HistorySubject::Whole,
        WrittenName { exporter: Some(exporter), signal: None, tenant: None, key: None } => {
            HistorySubject::Exporter(exporter)
        }
        WrittenName { exporter: None, signal: None, tenant: Some(tenant), key: None } => {
            HistorySubject::Tenant(tenant)
        }
        WrittenName { exporter: Some(_), signal: Some(_), .. } => HistorySubject::Stream(name),
        WrittenName { exporter, .. } => {
            let missing = if exporter.is_none() { "exporter" } else { "signal" };
            return Err(format!(
                "`{missing}` is missing: `exporter` alone names an exporter, `tenant` alone a tenant, and a stream is named by \
                 `exporter`, `signal`, `tenant` and `key`"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_a_query_is_said() {
        let missing = |what| {
            format!(
                "`{what}` is missing: `exporter` alone names an exporter, `tenant` alone a tenant, and a stream is named by `exporter`, \
                 `signal`, `tenant` and `key`"
            )
        };
        let day =
            "the history of a single stream or tenant goes back 15 minutes: write `range=15m`".to_owned();
        for (query, error) in [
            ("range=1h", "`range` is one of 15m, 24h, not `1h`".to_owned()),
            (
                "step=1",
                "unknown parameter `step`: there are range, exporter, signal, tenant and key".to_owned(),
            ),
            ("exporter=a&tenant=b", missing("signal")),
            ("exporter=a&key=b", missing("signal")),
            ("signal=logs", missing("exporter")),
            ("tenant=a&key=b", missing("exporter")),
            ("tenant=a&range=24h", day.clone()),
            ("range=24h&exporter=a&signal=logs&key=b", day),
        ] {
            assert_eq!(wanted(query).unwrap_err(), error, "{query}");
        }
    }

    #[test]
    fn an_exporter_and_a_tenant_are_named_alone_and_a_stream_by_all_that_names_it() {
        let subject = |query| wanted(query).unwrap().subject;
        assert!(matches!(subject("range=24h"), HistorySubject::Whole));
        assert!(matches!(subject("range=24h&exporter=up"), HistorySubject::Exporter(name) if name == "up"));
        assert!(matches!(subject("tenant=acme"), HistorySubject::Tenant(id) if id == "acme"));
        let HistorySubject::Stream(name) = subject("exporter=up&signal=logs&tenant=acme&key=a%20b") else {
            panic!("it is a stream's")
        };
        assert_eq!((name.tenant.as_deref(), name.key.as_deref()), (Some("acme"), Some("a b")));
        assert!(matches!(subject("exporter=up&signal=logs"), HistorySubject::Stream(_)));
    }
}
