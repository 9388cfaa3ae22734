//! Where requests go: scheme, host and port, with the requests at a time and the connections of each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::allowance::Allowance;
use crate::client::{Origin, Tls, Way};
use crate::descriptors::MakesRoom;
use crate::export::turn::Turns;
use crate::export::{Circuit, CircuitState};

/// What all streams to one origin share.
#[derive(Debug)]
pub(in crate::export) struct Destination<P> {
    pub(in crate::export) origin: Origin,
    pub(in crate::export) way: Way,
    pub(in crate::export) turns: Turns,
    pub(in crate::export) allowance: Allowance,
    pub(in crate::export) circuit: Circuit,
    /// Its connections, as the protocol keeps them.
    pub(in crate::export) pool: P,
}

/// The connections of a destination, as their protocol keeps them.
pub trait Connections {
    /// Whether there is none to be used again.
    fn is_empty(&self) -> bool;

    /// Lets go of those that are idle for too long, too old, closed by the other side, or of another generation of TLS
    /// files than this.
    fn sweep(&self, generation: u64);

    /// Since when the connection has been idle that has been so for longest.
    fn idle_since(&self) -> Option<Instant>;

    /// Closes that connection.
    fn close_idle(&self);
}

/// The destinations of one exporter. Templates can make one per routing key, so only those are kept that are in use
/// or have connections for the next request.
#[derive(Debug)]
pub(in crate::export) struct Destinations<P> {
    map: Mutex<Map<P>>,
    /// Whether the task of [`Self::keep_swept`] runs.
    swept: AtomicBool,
}

#[derive(Debug)]
struct Map<P> {
    known: HashMap<Origin, Arc<Destination<P>>>,
    /// The size at which the forgotten ones are cleared away: twice what was left last time, so that clearing
    /// costs each insertion a constant.
    clear_at: usize,
}

impl<P> Default for Destinations<P> {
    fn default() -> Self {
        Self { map: Mutex::new(Map { known: HashMap::new(), clear_at: 0 }), swept: AtomicBool::new(false) }
    }
}

impl<P: Connections> Destinations<P> {
    /// The destination of `origin`, made by `make` if there is none.
    pub(in crate::export) fn get<E>(
        &self,
        origin: &Origin,
        make: impl FnOnce() -> Result<Destination<P>, E>,
    ) -> Result<Arc<Destination<P>>, E> {
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

    /// Every destination by its origin, and how its circuit is.
    pub(in crate::export) fn circuits(&self) -> Vec<(String, CircuitState)> {
        // Senders need the map: it is let go before anything else is done.
        let known: Vec<_> = self.map.lock().known.values().cloned().collect();
        known.iter().map(|known| (known.origin.to_string(), known.circuit.state())).collect()
    }

    /// Sweeps every pool, and forgets the destinations that nothing is left of.
    fn sweep(&self, generation: u64) {
        let mut map = self.map.lock();
        for destination in map.known.values() {
            destination.pool.sweep(generation);
        }
        map.clear();
    }
}

impl<P: Connections + Send + Sync + 'static> Destinations<P> {
    /// A handle that closes idle connections when there are no descriptors for new ones.
    pub(in crate::export) fn room(self: &Arc<Self>) -> Weak<dyn MakesRoom> {
        let room: Arc<dyn MakesRoom> = Arc::clone(self) as _;
        Arc::downgrade(&room)
    }

    /// Starts the task that closes connections that nobody has used for too long, every `pause`; once. It ends with the
    /// destinations.
    pub(in crate::export) fn keep_swept(self: &Arc<Self>, tls: &Arc<Tls>, pause: Duration) {
        if self.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let (destinations, tls) = (Arc::downgrade(self), Arc::clone(tls));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(destinations) = destinations.upgrade() else { return };
                destinations.sweep(tls.generation());
            }
        });
    }
}

impl<P: Connections + Send + Sync> MakesRoom for Destinations<P> {
    fn make_room(&self) -> bool {
        let map = self.map.lock();
        let idle = map.known.values().filter_map(|known| Some((known.pool.idle_since()?, known)));
        let longest = idle.min_by_key(|(since, _)| *since).map(|(_, known)| Arc::clone(known));
        drop(map);
        longest.inspect(|known| known.pool.close_idle()).is_some()
    }
}

impl<P: Connections> Map<P> {
    fn clear(&mut self) {
        self.known
            .retain(|_, destination| Arc::strong_count(destination) > 1 || !destination.pool.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::backoff::RetrySettings;

    #[derive(Debug)]
    struct NoConnection;

    impl Connections for NoConnection {
        fn is_empty(&self) -> bool {
            true
        }

        fn sweep(&self, _: u64) {}

        fn idle_since(&self) -> Option<Instant> {
            None
        }

        fn close_idle(&self) {}
    }

    fn get(destinations: &Destinations<NoConnection>, url: &str) -> Arc<Destination<NoConnection>> {
        let origin = Origin::of(&url.parse().unwrap()).unwrap();
        destinations
            .get(&origin, || {
                Ok::<_, Infallible>(Destination {
                    origin: origin.clone(),
                    way: Way::Direct,
                    turns: Turns::default(),
                    allowance: Allowance::new(1),
                    circuit: Circuit::new(&RetrySettings::without_jitter()),
                    pool: NoConnection,
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
