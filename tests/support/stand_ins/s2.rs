//! S2's endpoint for OTLP/HTTP: a host for each basin, access tokens, a stream for each value of `s2.stream`.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{Delivery, Refusal, Rules, StandIn, Taken};

/// The largest append, in bytes.
const LARGEST_APPEND: usize = 1 << 20;

/// S2, with its basins and the tokens that each takes.
#[derive(Default)]
pub struct S2 {
    basins: Mutex<BTreeMap<String, Vec<String>>>,
}

impl S2 {
    /// Starts with basins, each with the token that may append there. An exporter reaches it as a proxy, so that requests are
    /// for the hosts of basins.
    pub async fn start(basins: &[(&str, &str)]) -> StandIn<Self> {
        let s2 = Self::default();
        for (basin, token) in basins {
            s2.allow(basin, token);
        }
        StandIn::start(s2).await
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
        for record in request.exported.records().iter().filter(|record| !record.is_event) {
            let stream =
                record.of_resource("s2.stream").ok_or(Refusal::new(400, "`s2.stream` is missing"))?;
            if !(1..=512).contains(&stream.len()) || stream.contains('\0') {
                return Err(Refusal::new(400, "no stream can be called so"));
            }
            taken.add(&stream, request.signal, record.text.clone());
        }
        Ok(())
    }
}
