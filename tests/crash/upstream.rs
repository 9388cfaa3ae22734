//! The upstream, and what can be wrong with it.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom as _;
use rig::sink::{Fault, Sink, SinkSettings};
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::sender::Acknowledged;
use crate::support::PATIENCE;
use crate::support::site::HeldAddress;

/// The header by which a process tells which one it is.
pub(crate) const PROCESS: &str = "x-process";

/// Long enough for every answer that is under way.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What the upstream is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Every answer takes a while.
    Slow,
    /// It refuses every second request, for now.
    Refusing,
    /// It resets every third connection in the middle of a request.
    Resetting,
    /// It never answers ten of the streams.
    Hanging,
    /// Nobody listens.
    Away,
}

/// An upstream that stays at its address, and keeps a ledger.
pub(crate) struct Upstream {
    held: HeldAddress,
    sink: Option<Sink>,
    pub(crate) ledger: Ledger,
}

impl Weather {
    /// All there is.
    pub(crate) const EVERY: [Self; 6] =
        [Self::Fair, Self::Slow, Self::Refusing, Self::Resetting, Self::Hanging, Self::Away];

    /// Fair often enough that backlogs don't only grow.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        if rng.random_ratio(1, 3) { Self::Fair } else { *Self::EVERY.choose(rng).expect("there is weather") }
    }

    fn fault(self, rng: &mut impl Rng) -> Fault {
        match self {
            Self::Fair | Self::Away => Fault::none(),
            Self::Slow => Fault::none().delayed(Duration::from_millis(one_of([5, 50, 200, 1000], rng))),
            Self::Refusing => Fault::status(one_of([429, 502, 503, 504], rng)).ratio(0.5),
            Self::Resetting => Fault::reset_after(rng.random_range(0..2000)).ratio(0.3),
            Self::Hanging => Fault::hang().on_streams("stream-1*"),
        }
    }
}

impl Upstream {
    /// One at a free address, in fair weather.
    pub(crate) async fn start() -> Self {
        let mut upstream = Self { held: HeldAddress::any(), sink: None, ledger: Ledger::default() };
        upstream.listen().await;
        upstream
    }

    /// Its endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.held.address())
    }

    /// Changes the weather for requests from now on. Requests that hang go on hanging; it can't go away while there are any.
    pub(crate) async fn turn(&mut self, weather: Weather, rng: &mut impl Rng) {
        if weather == Weather::Away {
            if let Some(sink) = self.sink.take() {
                // What it takes now it must answer, or it would come again without a kill.
                sink.finish(LAST_ANSWERS).await;
                note(&mut self.ledger, &sink);
            }
            return;
        }
        self.listen().await;
        self.sink.as_ref().expect("it listens").set_fault(weather.fault(rng));
    }

    /// Puts what has arrived into the ledger.
    pub(crate) fn note(&mut self) {
        if let Some(sink) = &self.sink {
            note(&mut self.ledger, sink);
        }
    }

    /// Waits until all that was acknowledged is here. What is not in time is for the ledger to name.
    pub(crate) async fn received(&mut self, acknowledged: &[Acknowledged]) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.note();
            if self.ledger.missing(acknowledged) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn listen(&mut self) {
        if self.sink.is_none() {
            let listen = self.held.address();
            let settings = SinkSettings { listen, record_requests: true, ..SinkSettings::default() };
            self.sink = Some(Sink::start(settings).await.expect("the address is held for it"));
        }
    }
}

fn one_of<T: Copy>(choices: [T; 4], rng: &mut impl Rng) -> T {
    *choices.choose(rng).expect("there are four")
}

fn note(ledger: &mut Ledger, sink: &Sink) {
    for request in sink.take_requests() {
        if request.answered.is_some_and(|status| status.is_success()) {
            let process = request.headers[PROCESS].to_str().ok().and_then(|number| number.parse().ok());
            ledger.take(process.expect("every process has a number"), request.decided, &request.body);
        }
    }
}
