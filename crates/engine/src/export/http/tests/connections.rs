//! Connections that break, hang, go stale or grow old.

use super::upstream::{Received, Then};
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn ok(_: &Received) -> Then {
    Then::Answer(OK.to_owned())
}

async fn answer_of(script: impl Fn(&Received) -> Then + Send + Sync + 'static) -> Answer {
    let upstream = Upstream::new(script).await;
    new(http_settings(&upstream.url())).unwrap().send("k").await
}

/// Rule 44.
#[tokio::test]
async fn rule_44_a_refused_connection_is_retried() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let answer = new(http_settings(&url)).unwrap().send("k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("connect", RETRY));
    assert!(answer.detail.contains("refused"), "{}", answer.detail);
}

#[tokio::test]
async fn who_gets_no_connection_is_not_told_that_there_is_no_answer() {
    // The system takes no more connections than wait to be accepted.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    let http =
        http_settings_with(&format!("http://{address}"), |http| http.timeout = Duration::from_millis(200));
    let answer = new(http).unwrap().send("k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("connect", RETRY), "{}", answer.detail);
}

#[tokio::test]
async fn an_unknown_host_is_retried() {
    let answer = new(http_settings("http://no-such-host.invalid/")).unwrap().send("k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("connect", RETRY));
    assert!(answer.detail.contains("no-such-host.invalid"), "{}", answer.detail);
}

/// Rule 43.
#[tokio::test]
async fn rule_43_a_connection_that_ends_without_an_answer_is_retried() {
    for then in [
        Then::AnswerAndClose(String::new()),
        Then::Reset(String::new()),
        Then::AnswerAndClose("HTTP/1.1 20".to_owned()),
        Then::Reset("HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
    ] {
        let script = then.clone();
        let answer = answer_of(move |_| script.clone()).await;
        assert_eq!((answer.code.as_ref(), answer.outcome), ("reset", RETRY), "{then:?}: {}", answer.detail);
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_our_body_is_retried() {
    let upstream = Upstream::accepting(|_, stream, _| async move {
        stream.readable().await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    let large = Batch::new(Signal::Logs, vec![Bytes::from(vec![0; 16 << 20])], 1);
    let answer = transport.send_batch("k", &large).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("reset", RETRY), "{}", answer.detail);
}

#[tokio::test]
async fn an_answer_that_breaks_off_counts_by_its_status() {
    let broken = |status: &str| Then::Reset(format!("HTTP/1.1 {status}\r\nContent-Length: 10\r\n\r\n123"));
    let (good, bad) = (broken("200 OK"), broken("400 Bad Request"));
    assert_eq!(answer_of(move |_| good.clone()).await.outcome, WARNED);
    assert_eq!(answer_of(move |_| bad.clone()).await.outcome, AttemptOutcome::Bad);
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let answer = answer_of(|_| Then::Answer("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned())).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("protocol", RETRY), "{}", answer.detail);
}

#[tokio::test]
async fn an_endless_head_is_no_answer() {
    let answer = answer_of(|_| Then::Answer(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 << 20)))).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("protocol", RETRY), "{}", answer.detail);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_read_counts() {
    let upstream = Upstream::accepting(|_, mut stream, _| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut head = [0; 64];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // Goes on reading, as servers do so that the sender sees the answer.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
    })
    .await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    let large = Batch::new(Signal::Logs, vec![Bytes::from(vec![0; 16 << 20])], 1);
    let answer = transport.send_batch("k", &large).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("413", AttemptOutcome::Bad));
}

#[tokio::test]
async fn a_request_that_was_answered_early_and_is_read_no_further_is_given_up_with_its_memory() {
    /// A batch's memory, with a mark that is gone once the memory is.
    struct Marked(Vec<u8>, #[allow(dead_code, reason = "it is dropped")] Arc<()>);

    impl AsRef<[u8]> for Marked {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    let upstream = Upstream::accepting(|_, mut stream, _| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut head = [0; 64];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // Neither reads nor closes.
        std::future::pending::<()>().await;
    })
    .await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    let mark = Arc::new(());
    let chunk = Bytes::from_owner(Marked(vec![0; 16 << 20], mark.clone()));
    let answer = transport.send_batch("k", &Batch::new(Signal::Logs, vec![chunk], 1)).await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("413", AttemptOutcome::Bad));
    while Arc::strong_count(&mark) > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_retried() {
    let upstream = Upstream::new(|_| Then::Silence).await;
    let http = http_settings_with(&upstream.url(), |http| http.timeout = Duration::from_millis(50));
    let answer = new(http).unwrap().send("k").await;
    assert_eq!((answer.code.as_ref(), answer.outcome), ("timeout", RETRY));
    assert_eq!(answer.detail, "no answer within 50ms");
}

#[tokio::test]
async fn an_answer_whose_body_does_not_come_in_time_counts_by_its_status() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123").await;
    let http = http_settings_with(&upstream.url(), |http| http.timeout = Duration::from_millis(200));
    assert_eq!(new(http).unwrap().send("k").await.outcome, WARNED);
}

/// Rule 45.
#[tokio::test]
async fn rule_45_connections_are_kept_and_used_again() {
    let upstream = Upstream::new(ok).await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    for _ in 0..5 {
        assert_eq!(transport.send("k").await.outcome, DELIVERED);
        wait_for_idle(&transport, 1).await;
    }
    assert_eq!(upstream.connections(), [0; 5]);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closes_after_its_answer_is_not_a_failure() {
    let upstream = Upstream::new(|_| Then::AnswerAndClose(OK.to_owned())).await;
    let transport = new(http_settings(&upstream.url())).unwrap();
    for _ in 0..20 {
        assert_eq!(transport.send("k").await.outcome, DELIVERED);
    }
    assert_eq!(upstream.received().len(), 20);
}

#[tokio::test]
async fn a_request_on_a_connection_that_was_just_closed_goes_out_again() {
    // The upstream closes at the second request of a connection, as if its timeout had struck just before.
    for then in [Then::Reset(String::new()), Then::AnswerAndClose(String::new())] {
        let seen = parking_lot::Mutex::new(std::collections::HashSet::new());
        let upstream =
            Upstream::new(
                move |request| {
                    if seen.lock().insert(request.connection) { ok(request) } else { then.clone() }
                },
            )
            .await;
        let transport = new(http_settings(&upstream.url())).unwrap();
        for _ in 0..3 {
            assert_eq!(transport.send("k").await.outcome, DELIVERED);
            wait_for_idle(&transport, 1).await;
        }
        assert_eq!(upstream.connections(), [0, 0, 1, 1, 2]);
    }
}

#[tokio::test]
async fn limits_of_zero_are_no_limits() {
    let upstream = Upstream::new(ok).await;
    let mut http = http_settings_with(&upstream.url(), |http| {
        http.timeout = Duration::ZERO;
        http.max_connection_age = Duration::ZERO;
    });
    http.idle_timeout = Duration::ZERO;
    let transport = new(http).unwrap();
    for _ in 0..3 {
        assert_eq!(transport.send("k").await.outcome, DELIVERED);
        wait_for_idle(&transport, 1).await;
    }
    assert_eq!(upstream.connections(), [0; 3]);
}

#[tokio::test]
async fn a_connection_is_not_used_beyond_its_age() {
    let upstream = Upstream::new(ok).await;
    let http = http_settings_with(&upstream.url(), |http| http.max_connection_age = Duration::from_nanos(1));
    let transport = new(http).unwrap();
    for _ in 0..3 {
        assert_eq!(transport.send("k").await.outcome, DELIVERED);
    }
    assert_eq!(upstream.connections(), [0, 1, 2]);
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_configured() {
    let upstream = Upstream::new(ok).await;
    let http = OtlpHttpSettings { max_idle_connections: 2, ..http_settings(&upstream.url()) };
    let transport = new(http).unwrap();
    let attempts = (0..8).map(|_| transport.send("k"));
    for answer in futures_join_all(attempts).await {
        assert_eq!(answer.outcome, DELIVERED);
    }
    wait_for_idle(&transport, 2).await;
    assert_eq!(transport.target(&stream("k")).unwrap().destination.pool.idle(), 2);
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_time() {
    let upstream = Upstream::new(ok).await;
    let http = OtlpHttpSettings { idle_timeout: Duration::from_millis(10), ..http_settings(&upstream.url()) };
    let transport = new(http).unwrap();
    let target = transport.target(&stream("k")).unwrap();
    assert_eq!(transport.send("k").await.outcome, DELIVERED);
    wait_for_idle(&transport, 1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    while target.destination.pool.idle() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rules_7_and_47_requests_at_a_time_are_bounded_per_destination() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (running, most) = (std::sync::Arc::default(), std::sync::Arc::default());
    let counters: (
        std::sync::Arc<std::sync::atomic::AtomicUsize>,
        std::sync::Arc<std::sync::atomic::AtomicUsize>,
    ) = (std::sync::Arc::clone(&running), std::sync::Arc::clone(&most));
    let upstream = Upstream::accepting(move |number, mut stream, _| {
        let (running, most) = counters.clone();
        let gate = std::sync::Arc::clone(&gate);
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            use tokio::io::AsyncWriteExt as _;
            while super::upstream::read_request(number, &mut stream).await.is_some() {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                // Nobody is answered before as many as may are here.
                if running.load(SeqCst) >= 3 {
                    gate.add_permits(3);
                }
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, SeqCst);
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let http = http_settings(&upstream.url());
    let mut settings = exporter(http.clone());
    settings.max_in_flight = 3;
    let transport = HttpTransport::new(&settings, &http, &Network::Machine, None).unwrap();
    for answer in futures_join_all((0..30).map(|_| transport.send("k"))).await {
        assert_eq!(answer.outcome, DELIVERED);
    }
    assert_eq!(most.load(std::sync::atomic::Ordering::SeqCst), 3);
}

async fn futures_join_all<F: Future<Output = Answer>>(attempts: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut attempts: Vec<_> = attempts.map(Box::pin).collect();
    let mut answers: Vec<Option<Answer>> = attempts.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (attempt, answer) in attempts.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(done) = attempt.as_mut().poll(context)
            {
                *answer = Some(done);
            }
        }
        if answers.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// Waits until hyper has noted the end of the answers and the connections are back.
async fn wait_for_idle(transport: &HttpTransport, count: usize) {
    let target = transport.target(&stream("k")).unwrap();
    while target.destination.pool.idle() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_kept_also_for_urls_and_headers_with_values() {
    let upstream = Upstream::new(ok).await;
    let headers = vec![header("x-scope-orgid", "{{ key }}")];
    let transport = new(http_settings_with(&upstream.url(), |http| http.headers = headers)).unwrap();
    for key in ["a", "b", "a"] {
        assert_eq!(transport.send(key).await.outcome, DELIVERED);
    }
    let received = upstream.received.lock();
    assert_eq!(received.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(received[1].headers["x-scope-orgid"], "b");
}
