//! Following pages of the API by server-sent events: what followers see, and what they can't hold up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rig::sink::Sink;
use serde_json::Value;
use sluice::otlp::Signal;
use tokio::time::{Instant, timeout};

use crate::support::events::{PageEvent, PageFollower};
use crate::support::payload::{entry, logs, request};
use crate::support::sinks;
use crate::support::wire::Wire;
use crate::support::{Sluice, SluiceProcess, eventually, http};

const EXPORTERS: &str = "/api/v1/exporters";

/// A change is told within this time, which leaves a second for a machine that has other things to do.
const SOON: Duration = Duration::from_secs(3);

fn config(up: &Sink, rest: &str) -> String {
    format!(
        "exporters: {{ otlp_http/up: {{ endpoint: '{}', compression: none }} }}\n\
         routes: [{{ match: {{ s2.stream: '*' }}, key: s2.stream, exporters: [otlp_http/up] }}]\n{rest}",
        up.url()
    )
}

/// Log records that the exporter of [`config`] has delivered.
fn delivered(exporters: &Value) -> u64 {
    exporters["exporters"][0]["records"]["logs"]["delivered"].as_u64().unwrap()
}

#[tokio::test]
async fn every_follower_is_told_at_once_what_there_is_and_soon_what_has_changed() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    let mut followers = [
        PageFollower::of(sluice.admin, EXPORTERS).await,
        PageFollower::of(sluice.admin, EXPORTERS).await,
        PageFollower::over_http2(sluice.admin, EXPORTERS).await,
    ];
    for follower in &mut followers {
        assert_eq!(delivered(&follower.snapshot().await), 0);
    }
    let mut overview = PageFollower::of(sluice.admin, "/api/v1/overview").await;
    overview.snapshot().await;
    for sent in 1..=2 {
        sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
        sluice.settled().await;
        let exported = |shown: &Value| shown["totals"]["exported"]["logs"]["records"].as_u64();
        let told = timeout(SOON, overview.snapshot_where(|shown| exported(shown) == Some(sent))).await;
        told.expect("it is told soon");
        for follower in &mut followers {
            let told = timeout(SOON, follower.snapshot_where(|shown| delivered(shown) == sent)).await;
            assert_eq!(told.expect("it is told soon"), sluice.api(EXPORTERS).await);
        }
    }
}

#[tokio::test]
async fn what_can_not_be_followed_is_answered_as_to_others() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    for (path, status) in [("/api/v1/streams?nonsense=1", 400), ("/api/v1/tenants/nobody", 404)] {
        let Err(answer) = PageFollower::try_of(sluice.admin, path, &[]).await else { panic!("{path}") };
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    let events = [("accept", "text/event-stream")];
    for path in ["/healthz", "/metrics", "/api/v1/config"] {
        let answer = http::send(sluice.admin, "GET", path, &events, Bytes::new()).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.header("content-type"), Some("text/event-stream"), "{path}");
    }
    let answer = http::send(sluice.admin, "HEAD", EXPORTERS, &events, Bytes::new()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let answer = http::send(sluice.admin, "POST", EXPORTERS, &events, Bytes::new()).await;
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn there_is_a_place_for_so_many_and_for_another_once_one_has_gone() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    let mut followers = Vec::new();
    for number in 0..64 {
        // Half of them follow pages that nobody else does.
        let path =
            if number % 2 == 0 { EXPORTERS.to_owned() } else { format!("/api/v1/streams?limit={number}") };
        followers.push(PageFollower::of(sluice.admin, &path).await);
    }
    let Err(full) = PageFollower::try_of(sluice.admin, EXPORTERS, &[]).await else {
        panic!("one more is taken")
    };
    assert_eq!(full.status, 503);
    assert!(full.text().contains("64 pages are followed"), "{}", full.text());
    assert_eq!(sluice.get(EXPORTERS).await.status, 200);
    assert_eq!(sluice.get("/readyz").await.status, 200);
    followers.pop();
    eventually("the place of one who has gone is another's", async || {
        PageFollower::try_of(sluice.admin, EXPORTERS, &[]).await.ok().map(|_| ())
    })
    .await;
}

/// A follower that reads nothing may hold up neither others nor what it is told.
#[tokio::test]
async fn a_follower_that_does_not_read_is_dropped() {
    let up = sinks::counting().await;
    let sluice = Sluice::start(&config(&up, "")).await;
    // A page of half a megabyte that changes each second, more than sockets keep of it.
    let entries: Vec<_> =
        (0..900).map(|number| entry(Signal::Logs, &format!("stream {number}"), &["x"])).collect();
    sluice.accept(Signal::Logs, request(&entries)).await;
    let mut changing = tokio::spawn({
        let front = (*sluice).clone();
        async move {
            loop {
                front.accept(Signal::Logs, logs(&[("stream 1", &["x"])])).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    });
    let mut wire = Wire::open(sluice.admin).await;
    let head = format!(
        "GET /api/v1/streams HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n",
        sluice.admin
    );
    wire.write(head).await;
    // Its window takes no more than the beginning of the first event.
    let stream = tokio::net::TcpStream::connect(sluice.admin).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let asked = ::http::Request::get(format!("http://{}/api/v1/streams", sluice.admin));
    let asked = asked.header("accept", "text/event-stream").body(()).unwrap();
    let (answer, _) = client.send_request(asked, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);

    let mut reader = PageFollower::of(sluice.admin, "/api/v1/streams").await;
    let reading = async {
        loop {
            reader.snapshot().await;
        }
    };
    let not_taken = [("receiver", "admin"), ("cause", "answer_not_taken")];
    tokio::select! {
        () = sluice.wait_for_metric("sluice_connection_errors_total", &not_taken, 2.0) => {}
        () = reading => {}
        _ = &mut changing => {}
    }
    reader.snapshot().await;
    changing.abort();
}

#[tokio::test]
async fn followers_do_not_hold_up_the_end_of_the_process() {
    let up = sinks::counting().await;
    let mut sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
    let mut followers = [
        PageFollower::of(sluice.admin, EXPORTERS).await,
        PageFollower::over_http2(sluice.admin, EXPORTERS).await,
    ];
    for follower in &mut followers {
        follower.snapshot().await;
    }
    let begun = Instant::now();
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "of the 25 s of `shutdown_timeout`: {:?}",
        begun.elapsed()
    );
    for follower in &mut followers {
        follower.ended().await;
    }
}

#[tokio::test]
async fn a_follower_of_a_listener_that_has_moved_is_told_that_it_is_over() {
    let up = sinks::counting().await;
    let mut sluice = SluiceProcess::start(&config(&up, ""), &[]).await;
    let mut followers = [
        PageFollower::of(sluice.admin, EXPORTERS).await,
        PageFollower::over_http2(sluice.admin, EXPORTERS).await,
    ];
    let moved = config(&up, "admin: { endpoint: '127.0.0.2:0' }\n");
    sluice.write_config(&moved);
    sluice.signal("HUP").await;
    sluice.logged("configuration reloaded").await;
    for follower in &mut followers {
        timeout(SOON, follower.ended()).await.expect("it ends with its listener");
    }
    let begun = Instant::now();
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0), "{:?}", sluice.log());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_token_that_a_reload_has_changed_ends_what_was_begun_with_it() {
    let up = sinks::counting().await;
    let of_token = |token: &str| {
        config(
            &up,
            &format!(
                "admin: {{ endpoint: '0.0.0.0:0', read_token: {token}, write_token: 0123456789abcdef-writer }}\n"
            ),
        )
    };
    let sluice = Sluice::start(&of_token("0123456789abcdef-before")).await;
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, sluice.admin.port()).into();
    let [before, after, writer] =
        ["before", "after", "writer"].map(|name| format!("Bearer 0123456789abcdef-{name}"));
    let follow = async |token: &str| PageFollower::try_of(to, EXPORTERS, &[("authorization", token)]).await;
    let (Ok(mut reader), Ok(mut changer)) = (follow(&before).await, follow(&writer).await) else {
        panic!("they may read")
    };
    reader.snapshot().await;

    std::fs::write(
        sluice.config(),
        std::fs::read_to_string(sluice.config()).unwrap().replace("-before", "-after"),
    )
    .unwrap();
    assert_eq!(
        http::send(to, "POST", "/api/v1/reload", &[("authorization", &writer)], Bytes::new()).await.status,
        200
    );
    timeout(SOON, reader.ended()).await.expect("its token is worth nothing any more");
    assert_eq!(follow(&before).await.err().unwrap().status, 401);
    follow(&after).await.ok().unwrap().snapshot().await;
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    timeout(SOON, changer.snapshot_where(|shown| delivered(shown) == 1))
        .await
        .expect("this token is as it was");
}

#[tokio::test]
async fn a_page_that_is_gone_ends_with_an_error() {
    let up = sinks::counting().await;
    let row = "tenants: { attribute: tenant.id, list: [{ id: acme }] }\n";
    let sluice = Sluice::start(&config(&up, row)).await;
    let mut follower = PageFollower::of(sluice.admin, "/api/v1/tenants/acme").await;
    assert_eq!(follower.snapshot().await["id"], "acme");
    sluice.reconfigure(&config(&up, &row.replace("acme", "globex"))).await;
    let event = follower.next().await;
    let Some(PageEvent::Named(name, data)) = event else { panic!("{event:?}") };
    assert_eq!((name.as_str(), &data["error"]), ("error", &"there is no tenant of this id".into()));
    assert_eq!(follower.next().await, None);
}
