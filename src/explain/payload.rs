//! A captured request in either encoding.

use thiserror::Error;

use crate::otlp::{self, JsonReadError, Malformed, Signal, Split};

/// A captured request in protobuf or JSON.
pub struct CapturedPayload<'p> {
    bytes: &'p [u8],
    signal: Signal,
    /// The request that JSON stands for, in protobuf.
    request: Vec<u8>,
}

/// Why a payload can't be read.
#[derive(Clone, Debug, Error)]
pub enum PayloadError {
    /// The payload is no request of the signal, or of any if that is not known.
    #[error("not {} request, it would be answered 400: {malformed}", a_signal(*.signal))]
    Malformed {
        /// The signal that it was taken for.
        signal: Option<Signal>,
        /// The error in its framing.
        malformed: Malformed,
    },
    /// The payload is valid for several signals, or for none.
    #[error("the payload fits no signal, or more than one: say which")]
    UnknownSignal,
}

fn a_signal(signal: Option<Signal>) -> String {
    signal.map_or_else(|| "an OTLP".to_owned(), |signal| format!("a {signal}"))
}

impl<'p> CapturedPayload<'p> {
    /// A payload of this signal; without one, its content decides.
    pub fn new(bytes: &'p [u8], signal: Option<Signal>) -> Result<Self, PayloadError> {
        let signal = signal.or_else(|| guessed(bytes));
        // An error in the framing is one for every signal.
        let mut request = Vec::new();
        let split = split(signal.unwrap_or(Signal::Logs), bytes, &mut request);
        split.map_err(|malformed| PayloadError::Malformed { signal, malformed })?;
        let signal = signal.ok_or(PayloadError::UnknownSignal)?;
        Ok(Self { bytes, signal, request: Vec::new() })
    }

    /// The signal.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The field that holds its entries.
    pub fn entry_field(&self) -> &'static str {
        if is_json(self.bytes) { self.signal.json_entry_field() } else { self.signal.entry_field() }
    }

    /// Its entries, and the parts that are not valid.
    pub fn split(&mut self) -> Split<'_> {
        split(self.signal, self.bytes, &mut self.request).expect("it was split before")
    }
}

/// Whether a payload is JSON. A brace would be the beginning of a group, which no request in protobuf has.
fn is_json(payload: &[u8]) -> bool {
    payload.trim_ascii_start().first() == Some(&b'{')
}

/// Splits a payload in either encoding. `request` holds the protobuf that JSON stands for.
fn split<'a>(signal: Signal, payload: &'a [u8], request: &'a mut Vec<u8>) -> Result<Split<'a>, Malformed> {
    if !is_json(payload) {
        return otlp::split(signal, payload);
    }
    let transcoded = match otlp::read_request(signal, payload, &mut |_| true) {
        Ok(transcoded) => transcoded,
        Err(JsonReadError::Malformed(malformed)) => return Err(malformed),
        Err(JsonReadError::NoRoom) => unreachable!("there is always room"),
    };
    *request = transcoded.bytes;
    let mut split = otlp::split(signal, request)?;
    transcoded.omitted.restore(&mut split);
    Ok(split)
}

/// The signal, if the bytes are valid for one signal alone; JSON names it by its keys, also where there is nothing in it.
fn guessed(payload: &[u8]) -> Option<Signal> {
    let named = is_json(payload);
    let only = |fits: &dyn Fn(&Split<'_>) -> bool| {
        let fits = |signal: &Signal| split(*signal, payload, &mut Vec::new()).is_ok_and(|split| fits(&split));
        let mut fitting = Signal::ALL.into_iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    };
    let has_records = |split: &Split<'_>| split.entries.iter().any(|entry| entry.records > 0);
    if named {
        only(&|split| has_records(split) || !split.cuts.is_empty()).or_else(|| only(&|_| true))
    } else {
        only(&|split| has_records(split) && split.cuts.is_empty())
    }
}
