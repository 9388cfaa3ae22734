//! Random events, and what the module's documentation says of them.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    /// A stream asks for leave.
    Ask(Asker),
    /// So many milliseconds pass.
    Time(u64),
    /// An attempt ends, of those that are on their way the one at this part of them.
    End(proptest::sample::Index, Sign),
    /// A stream that waits gives up.
    GiveUp(proptest::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    let asker = (0..12_usize, any::<bool>()).prop_map(|(stream, in_trouble)| Asker { stream, in_trouble });
    let sign = prop_oneof![8 => Just(Sign::Down), 1 => Just(Sign::Alive), 1 => Just(Sign::Unclear)];
    prop_oneof![
        6 => asker.prop_map(Event::Ask),
        3 => prop_oneof![0..50_u64, 0..5000_u64].prop_map(Event::Time),
        6 => (any::<proptest::sample::Index>(), sign).prop_map(|(which, sign)| Event::End(which, sign)),
        1 => any::<proptest::sample::Index>().prop_map(Event::GiveUp),
    ]
}

/// What is known of the circuit without asking it.
#[derive(Default)]
struct Model {
    last_answer: Option<Instant>,
    failed: BTreeSet<usize>,
    /// For the troubled and the others, since when and how long the next probe is put off.
    open: Option<[PutOff; 2]>,
}

#[derive(Clone, Copy)]
struct PutOff {
    since: Instant,
    pause: Duration,
}

impl PutOff {
    fn is_over(&self) -> bool {
        self.since.elapsed() >= self.pause
    }
}

impl Model {
    fn end(&mut self, stream: usize, began: Instant, sign: Sign) -> CircuitChange {
        match sign {
            Sign::Alive => {
                self.last_answer = Some(Instant::now());
                self.failed.clear();
                self.open.take().map_or(CircuitChange::None, |_| CircuitChange::Closed)
            }
            Sign::Down if self.open.is_none() && self.last_answer.is_none_or(|answer| answer <= began) => {
                self.failed.insert(stream);
                if self.failed.len() < SEVERAL {
                    return CircuitChange::None;
                }
                let (since, pause) = (Instant::now(), Duration::from_secs(1));
                self.open = Some([PutOff { since, pause }; 2]);
                CircuitChange::Opened
            }
            Sign::Down | Sign::Unclear => CircuitChange::None,
        }
    }

    /// A probe has gone.
    fn probe(&mut self, in_trouble: bool) {
        let put_off =
            &mut self.open.as_mut().expect("while it is closed nobody probes")[usize::from(in_trouble)];
        assert!(put_off.is_over(), "a probe that was not due");
        put_off.since = Instant::now();
        if in_trouble {
            put_off.pause = (put_off.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Pass<'a>> + 'a>>;

/// Lets the streams that wait go on, as far as they may: in the order in which they asked.
async fn let_go<'a>(
    model: &mut Model,
    waiting: &mut Vec<(Asker, Waiting<'a>)>,
    on_their_way: &mut Vec<(Asker, Pass<'a>)>,
) {
    let mut still_waiting = Vec::new();
    for (asker, mut pass) in std::mem::take(waiting) {
        match poll_fn(|cx| Poll::Ready(pass.as_mut().poll(cx))).await {
            Poll::Ready(pass) => {
                assert_eq!(pass.is_probe(), model.open.is_some());
                if pass.is_probe() {
                    model.probe(asker.in_trouble);
                }
                on_their_way.push((asker, pass));
            }
            Poll::Pending => still_waiting.push((asker, pass)),
        }
    }
    *waiting = still_waiting;
}

async fn run(events: Vec<Event>) {
    let circuit = circuit();
    let (mut model, mut waiting) = (Model::default(), Vec::new());
    let mut on_their_way: Vec<(Asker, Pass<'_>)> = Vec::new();
    for event in events {
        match event {
            Event::Ask(asker) => {
                let pass: Waiting<'_> = Box::pin(circuit.pass(asker));
                waiting.push((asker, pass));
            }
            Event::Time(millis) => advance(Duration::from_millis(millis)).await,
            Event::GiveUp(which) if !waiting.is_empty() => drop(waiting.remove(which.index(waiting.len()))),
            Event::End(which, sign) if !on_their_way.is_empty() => {
                let (asker, pass) = on_their_way.remove(which.index(on_their_way.len()));
                let expected = model.end(asker.stream, pass.began, sign);
                assert_eq!(pass.end(sign, CODE), expected);
            }
            Event::GiveUp(_) | Event::End(..) => {}
        }
        // A place at the head of a queue that one leaves late is taken by one that was looked at before.
        for _ in 0..2 {
            let_go(&mut model, &mut waiting, &mut on_their_way).await;
        }

        assert_eq!(circuit.is_open(), model.open.is_some());
        let waits = |in_trouble: bool| waiting.iter().any(|(asker, _)| asker.in_trouble == in_trouble);
        let probes = |in_trouble: bool| {
            let of_line = on_their_way.iter().filter(|(asker, _)| asker.in_trouble == in_trouble);
            of_line.filter(|(_, pass)| pass.is_probe()).count()
        };
        assert!(probes(true) <= 1, "of the troubled one probes at a time");
        match &model.open {
            None => assert!(waiting.is_empty(), "while it is closed nobody waits"),
            Some([untroubled, troubled]) => {
                assert!(
                    !waits(false) || !untroubled.is_over(),
                    "one of those without trouble is kept waiting"
                );
                assert!(
                    !waits(true) || !troubled.is_over() || probes(true) == 1,
                    "the troubled are kept waiting"
                );
                assert_eq!(circuit.state().next_probe, Some(troubled.since + troubled.pause));
            }
        }
        assert!(
            on_their_way.iter().all(|(_, pass)| pass.holds() == (pass.is_probe() || model.open.is_none()))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_does_what_its_documentation_says_whatever_happens(events in prop::collection::vec(event(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        // Not to be told to wait by the runtime, but by the circuit alone.
        runtime.block_on(tokio::task::unconstrained(run(events)));
    }
}
