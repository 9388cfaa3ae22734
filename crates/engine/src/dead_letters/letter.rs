//! A dead letter before it is stored, and its place among the others.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use otlp::Signal;
use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::route::RoutingKey;
use crate::utc;

/// A dead letter to be stored.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The exporter it was for; `None` if it never had one.
    pub exporter: Option<String>,
    /// The signal of its entries.
    pub signal: Signal,
    /// How its bytes are to be read.
    pub encoding: Encoding,
    /// The routing key, if there is one.
    pub key: Option<RoutingKey>,
    /// Where it came from, if it never had an exporter.
    pub origin: Option<DeadLetterOrigin>,
    /// Why nobody takes it, for people.
    pub reason: String,
    /// Spans, data points or log records in it.
    pub records: u64,
    /// The encoded request, in pieces; of JSON, a request on each line.
    pub bytes: Vec<Bytes>,
    /// When it was given up.
    pub time: SystemTime,
}

/// How a letter that never had an exporter came here: for people, and for whoever routes it later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterOrigin {
    /// The receiver that took it.
    pub receiver: String,
    /// The other side of the connection, which may be a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The sender's user agent, shortened and printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The tenant whose sender it was, if the receiver asks the table of tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The tenant whose entries these are, if they are anybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl fmt::Display for DeadLetterOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receiver, peer, user_agent, sender, tenant } = self;
        write!(f, "received by `{receiver}`")?;
        if let Some(peer) = peer {
            write!(f, " from {peer}")?;
        }
        if let Some(user_agent) = user_agent {
            write!(f, ", user agent `{user_agent}`")?;
        }
        for (what, id) in [("sent by", sender), ("for", tenant)] {
            if let Some(id) = id {
                write!(f, ", {what} the tenant `{id}`")?;
            }
        }
        Ok(())
    }
}

/// The place of a letter in its directory. Places go up, whatever the clock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterPlace {
    /// Since 1970.
    pub(super) millis: u64,
    pub(super) number: u64,
}

impl DeadLetterPlace {
    /// How the files of the letter begin.
    pub(super) fn name(self) -> String {
        let time = utc::compact(UNIX_EPOCH + Duration::from_millis(self.millis));
        format!("{time}-{:08}", self.number)
    }
}
