//! S2's endpoint for OTLP/HTTP: a host for each basin, access tokens, a stream for each value of `s2.stream`.
//!
//! S2 takes at most 1000 records in one append. Its endpoint for OTLP makes the appends itself: what S2 recommends to exporters bounds
//! the bytes of a request alone, of which small records are many more than 1000. What its endpoint says where it does not is
//! imitated as well.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{Delivery, Refusal, Rules, StandIn, Taken};

/// The largest append, in bytes.
const LARGEST_APPEND: usize = 1 << 20;

/// The most records of an append.
pub const MOST_RECORDS: usize = 1000;

/// S2, with its basins and the tokens that each takes.
#[derive(Default)]
pub struct S2 {
    basins: Mutex<BTreeMap<String, Vec<String>>>,
    /// Whether what a request has for a stream is one append, however many records that are.
    is_one_append: bool,
}

impl S2 {
    /// Starts with basins, each with the token that may append there. An exporter reaches it as a proxy, so that requests are
    /// for the hosts of basins.
    pub async fn start(basins: &[(&str, &str)]) -> StandIn<Self> {
        Self::default().start_with(basins).await
    }

    /// The same, with an endpoint that refuses more records for one stream than an append takes.
    pub async fn start_undivided(basins: &[(&str, &str)]) -> StandIn<Self> {
        Self { is_one_append: true, ..Self::default() }.start_with(basins).await
    }

    async fn start_with(self, basins: &[(&str, &str)]) -> StandIn<Self> {
        for (basin, token) in basins {
            self.allow(basin, token);
        }
        StandIn::start(self).await
    }

    /// Takes another token for a basin.
    pub fn allow(&self, basin: &str, token: &str) {
        assert!(is_basin(basin), "no basin can be called so: {basin}");
        self.basins.lock().entry(basin.to_owned()).or_default().push(token.to_owned());
    }
}

/// 8 to 48 small letters, digits and `-`.
fn is_basin(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (8..=48).contains(&name.len()) && name.bytes().all(is_char)
}

impl Rules for S2 {
    fn judge(&self, request: &Delivery, taken: &mut Taken) -> Result<(), Refusal> {
        let host = request.header("host");
        let basin = host.strip_suffix(".b.s2.dev").or_else(|| host.strip_suffix(".b.aws.s2.dev"));
        let basins = self.basins.lock();
        let tokens = basin.and_then(|basin| basins.get(basin));
        let tokens = tokens.ok_or(Refusal::new(404, format!("no basin at {host}")))?;
        if request.path != format!("/otlp{}", request.signal.path()) {
            return Err(Refusal::new(404, format!("nothing at {}", request.path)));
        }
        if !request.bearer().is_some_and(|token| tokens.iter().any(|known| known == token)) {
            return Err(Refusal::new(401, "the access token is not valid"));
        }
        if !request.header("content-encoding").is_empty() {
            return Err(Refusal::new(415, "that it takes compressed data is said nowhere"));
        }
        if request.exported.size() > LARGEST_APPEND {
            return Err(Refusal::new(413, "an append has at most 1 MiB"));
        }
        let mut appended: BTreeMap<String, usize> = BTreeMap::new();
        for record in request.exported.records().iter().filter(|record| !record.is_event) {
            let stream =
                record.of_resource("s2.stream").ok_or(Refusal::new(400, "`s2.stream` is missing"))?;
            if !(1..=512).contains(&stream.len()) || stream.contains('\0') {
                return Err(Refusal::new(400, "no stream can be called so"));
            }
            taken.add(&stream, request.signal, record.text.clone());
            *appended.entry(stream).or_default() += 1;
        }
        if self.is_one_append && appended.values().any(|records| *records > MOST_RECORDS) {
            return Err(Refusal::new(413, "an append has at most 1000 records"));
        }
        Ok(())
    }
}
