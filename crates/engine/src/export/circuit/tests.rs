//! The circuit on a clock that stands still.

use std::sync::Arc;

use tokio::time::sleep;

use super::*;

mod model;

const CODE: Cow<'static, str> = Cow::Borrowed("connect");

fn circuit() -> Arc<Circuit> {
    Arc::new(Circuit::new(&RetrySettings::without_jitter()))
}

fn fresh(stream: usize) -> Asker {
    Asker { stream, in_trouble: false }
}

fn in_trouble(stream: usize) -> Asker {
    Asker { stream, in_trouble: true }
}

/// An attempt of each stream, all at the same time, that show the same after `time`.
async fn attempts(circuit: &Circuit, streams: std::ops::Range<usize>, time: Duration, sign: Sign) {
    let mut passes = Vec::new();
    for stream in streams {
        passes.push(circuit.pass(fresh(stream)).await);
    }
    sleep(time).await;
    for pass in passes {
        pass.end(sign, CODE);
    }
}

async fn open() -> Arc<Circuit> {
    let circuit = circuit();
    attempts(&circuit, 0..SEVERAL, Duration::from_millis(1), Sign::Down).await;
    assert!(circuit.is_open());
    assert_eq!(circuit.state().failure, Some(CODE));
    circuit
}

#[tokio::test(start_paused = true)]
async fn several_streams_that_meet_nothing_open_it_and_fewer_do_not() {
    let circuit = circuit();
    for _ in 0..3 {
        attempts(&circuit, 0..SEVERAL - 1, Duration::from_millis(1), Sign::Down).await;
    }
    assert!(!circuit.is_open());
    let last = circuit.pass(fresh(99)).await;
    assert_eq!(last.end(Sign::Down, CODE), CircuitChange::Opened);
    assert_eq!(circuit.state().name(), "open");
}

#[tokio::test(start_paused = true)]
async fn one_streams_failures_never_open_it() {
    let circuit = circuit();
    for _ in 0..1000 {
        attempts(&circuit, 7..8, Duration::from_millis(1), Sign::Down).await;
    }
    assert!(!circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_success_between_the_failures_keeps_it_closed() {
    let circuit = circuit();
    for stream in 0..100 {
        attempts(&circuit, stream..stream + 1, Duration::from_millis(1), Sign::Down).await;
        if stream % 4 == 3 {
            attempts(&circuit, 1000..1001, Duration::from_millis(1), Sign::Alive).await;
        }
    }
    assert!(!circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn streams_that_hang_beside_one_that_is_answered_never_open_it() {
    let circuit = circuit();
    for _ in 0..10 {
        let hanging = attempts(&circuit, 0..1000, Duration::from_secs(30), Sign::Down);
        let healthy = async {
            sleep(Duration::from_secs(10)).await;
            attempts(&circuit, 1000..1001, Duration::from_millis(5), Sign::Alive).await;
        };
        tokio::join!(hanging, healthy);
    }
    assert!(!circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn attempts_that_show_nothing_neither_open_nor_close_it() {
    let circuit = circuit();
    attempts(&circuit, 0..100, Duration::from_millis(1), Sign::Unclear).await;
    assert!(!circuit.is_open());
    let circuit = open().await;
    assert_eq!(circuit.pass(fresh(0)).await.end(Sign::Unclear, CODE), CircuitChange::None);
    assert!(circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_streams_probe_one_by_one_after_growing_pauses() {
    let circuit = open().await;
    let start = Instant::now();
    let probes = Arc::new(Mutex::new(Vec::new()));
    for stream in 0..1000 {
        let (circuit, probes) = (circuit.clone(), probes.clone());
        tokio::spawn(async move {
            loop {
                let pass = circuit.pass(in_trouble(stream)).await;
                probes.lock().push(start.elapsed().as_secs());
                pass.end(Sign::Down, CODE);
            }
        });
    }
    sleep(Duration::from_secs(100)).await;
    assert_eq!(*probes.lock(), [1, 3, 7, 15, 25, 35, 45, 55, 65, 75, 85, 95]);
}

#[tokio::test(start_paused = true)]
async fn the_first_sign_of_life_lets_everybody_go_on() {
    let circuit = open().await;
    let waiting: Vec<_> = (0..100)
        .map(|stream| {
            let circuit = circuit.clone();
            tokio::spawn(async move { circuit.pass(in_trouble(stream)).await.end(Sign::Alive, CODE) })
        })
        .collect();
    let start = Instant::now();
    let mut closed = 0;
    for task in waiting {
        closed += usize::from(task.await.unwrap() == CircuitChange::Closed);
    }
    assert_eq!((closed, start.elapsed().as_secs()), (1, 1));
    assert_eq!(circuit.state().name(), "closed");
}

#[tokio::test(start_paused = true)]
async fn it_is_half_open_while_a_probe_is_on_its_way() {
    let circuit = open().await;
    let pass = circuit.pass(in_trouble(0)).await;
    assert_eq!(circuit.state().name(), "half_open");
    drop(pass);
    assert_eq!(circuit.state().name(), "open");
    assert_eq!(circuit.state().until_probe(), Some(Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_no_trouble_of_its_own_does_not_wait_in_line_with_those_that_are() {
    let circuit = open().await;
    for stream in 0..1000 {
        let circuit = circuit.clone();
        tokio::spawn(async move {
            loop {
                let pass = circuit.pass(in_trouble(stream)).await;
                sleep(Duration::from_secs(30)).await;
                pass.end(Sign::Down, CODE);
            }
        });
    }
    sleep(Duration::from_secs(500)).await;
    let start = Instant::now();
    let pass = circuit.pass(fresh(5000)).await;
    assert!(start.elapsed() <= LONGEST_UNTROUBLED_PAUSE, "{:?}", start.elapsed());
    assert_eq!(pass.end(Sign::Alive, CODE), CircuitChange::Closed);
}

#[tokio::test(start_paused = true)]
async fn of_those_in_trouble_one_probes_at_a_time_and_the_others_do_not_put_them_off() {
    let circuit = open().await;
    let start = Instant::now();
    let (on_their_way, probes) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    for stream in 0..100 {
        let (circuit, on_their_way, probes) = (circuit.clone(), on_their_way.clone(), probes.clone());
        tokio::spawn(async move {
            loop {
                let pass = circuit.pass(in_trouble(stream)).await;
                *on_their_way.lock() += 1;
                *probes.lock() += 1;
                sleep(Duration::from_secs(30)).await;
                *on_their_way.lock() -= 1;
                pass.end(Sign::Down, CODE);
            }
        });
    }
    // Others that come all the time.
    while start.elapsed() < Duration::from_secs(600) {
        drop(circuit.pass(fresh(1000)).await);
        assert!(*on_their_way.lock() <= 1);
    }
    let probes = *probes.lock();
    assert!((15..=21).contains(&probes), "{probes} probes of 30 s in 600 s");
}

#[tokio::test(start_paused = true)]
async fn probes_end_with_whoever_made_them() {
    let circuit = open().await;
    for _ in 0..3 {
        let waits = tokio::time::timeout(Duration::from_millis(500), circuit.pass(in_trouble(1))).await;
        drop(waits);
    }
    drop(circuit.pass(in_trouble(2)).await);
    assert_eq!((circuit.state().name(), circuit.heads[1].available_permits()), ("open", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_stream_that_asks_while_the_circuit_closes_misses_the_closing() {
    let retry = RetrySettings { initial_interval: LONGEST_PAUSE, ..RetrySettings::without_jitter() };
    for _ in 0..200 {
        let circuit = Arc::new(Circuit::new(&retry));
        let answered = circuit.pass(fresh(99)).await;
        attempts(&circuit, 0..SEVERAL, Duration::ZERO, Sign::Down).await;
        let waiting: Vec<_> = (0..8)
            .map(|stream| {
                let circuit = circuit.clone();
                tokio::spawn(async move { circuit.pass(in_trouble(stream)).await.is_probe() })
            })
            .collect();
        assert_eq!(answered.end(Sign::Alive, CODE), CircuitChange::Closed);
        for task in waiting {
            let is_probe = tokio::time::timeout(LONGEST_PAUSE / 2, task).await.expect("it goes on");
            assert!(!is_probe.unwrap());
        }
    }
}
