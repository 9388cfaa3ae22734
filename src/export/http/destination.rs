//! Where requests go: scheme, host and port, with the requests at a time and the connections of each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use parking_lot::Mutex;

use super::allowance::Allowance;
use super::pool::Pool;
use super::proxy::Way;

/// Scheme, host and port of a URL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) https: bool,
    /// Lower case; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// The origin of an absolute `http` or `https` URL.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host, port })
    }

    /// Host, and port unless it is the scheme's own: the `Host` header.
    pub(super) fn authority(&self) -> String {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.https { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What all streams to one origin share.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) origin: Origin,
    pub(super) way: Way,
    pub(super) allowance: Allowance,
    pub(super) pool: Pool,
}

/// The destinations of one exporter. Templates can make one per routing key, so only those are kept that are in use
/// or have connections for the next request.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    known: HashMap<Origin, Arc<Destination>>,
    /// The size at which the forgotten ones are cleared away: twice what was left last time, so that clearing
    /// costs each insertion a constant.
    clear_at: usize,
}

impl Destinations {
    /// The destination of `origin`, made by `make` if there is none.
    pub(super) fn get<E>(
        &self,
        origin: &Origin,
        make: impl FnOnce() -> Result<Destination, E>,
    ) -> Result<Arc<Destination>, E> {
        let mut map = self.map.lock();
        if let Some(known) = map.known.get(origin) {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(make()?);
        if map.known.len() >= map.clear_at {
            map.clear();
            map.clear_at = (map.known.len() * 2).max(64);
        }
        map.known.insert(origin.clone(), Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Closes connections that are idle for too long, too old or of another generation of TLS files, and forgets
    /// the destinations that nothing is left of.
    pub(super) fn sweep(&self, generation: u64) {
        let mut map = self.map.lock();
        for destination in map.known.values() {
            destination.pool.sweep(generation);
        }
        map.clear();
    }
}

impl Map {
    fn clear(&mut self) {
        self.known
            .retain(|_, destination| Arc::strong_count(destination) > 1 || !destination.pool.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::export::http::pool::PoolLimits;

    fn get(destinations: &Destinations, url: &str) -> Arc<Destination> {
        let origin = Origin::of(&url.parse().unwrap()).unwrap();
        let limits = PoolLimits { max_idle: 1, idle_timeout: Duration::ZERO, max_age: Duration::ZERO };
        destinations
            .get(&origin, || {
                Ok::<_, Infallible>(Destination {
                    origin: origin.clone(),
                    way: Way::Direct,
                    allowance: Allowance::new(1),
                    pool: Pool::new(limits),
                })
            })
            .unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_whatever_the_spelling() {
        let destinations = Destinations::default();
        let one = get(&destinations, "https://API.example/otlp/v1/logs");
        assert!(Arc::ptr_eq(&one, &get(&destinations, "https://api.example:443/v1/traces")));
        assert!(!Arc::ptr_eq(&one, &get(&destinations, "http://api.example:443/v1/traces")));
        assert!(!Arc::ptr_eq(&one, &get(&destinations, "https://api.example:444")));
    }

    #[test]
    fn the_host_header_names_only_unusual_ports() {
        let authority = |url: &str| Origin::of(&url.parse().unwrap()).unwrap().authority();
        assert_eq!(authority("https://u:443/x"), "u");
        assert_eq!(authority("http://u:443/x"), "u:443");
        assert_eq!(authority("http://[::1]/x"), "[::1]");
    }

    #[test]
    fn destinations_that_are_not_in_use_and_have_no_connections_are_forgotten() {
        let destinations = Destinations::default();
        let kept = get(&destinations, "http://kept");
        for number in 0..10_000 {
            get(&destinations, &format!("http://h{number}"));
        }
        assert!(destinations.map.lock().known.len() <= 65, "{}", destinations.map.lock().known.len());
        assert!(Arc::ptr_eq(&kept, &get(&destinations, "http://kept")));
        destinations.sweep(0);
        assert_eq!(destinations.map.lock().known.len(), 1);
    }
}
