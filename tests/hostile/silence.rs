//! Connections that say nothing, or never finish: they keep nobody out.

use std::net::SocketAddr;

use sluice::otlp::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::attacker::Attacker;
use crate::support::payload::logs;
use crate::support::wire::{Wire, head};
use crate::support::{PATIENCE, SluiceProcess, http, sinks, yaml};

/// Connections, as many of five thousand as this machine allows a process to have beside its other files.
fn connections() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be read");
    5_000.min(files.saturating_sub(500) as usize)
}

/// What each of them says, by turns.
const SAID: [&[u8]; 5] =
    [b"", b"G", b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", b"PRI * HTTP/2.0", b"\x16\x03"];

/// Where a listener of this kind listens.
pub(crate) async fn address(sluice: &SluiceProcess, what: &str) -> SocketAddr {
    let line = sluice.logged(what).await;
    let (_, rest) = line.split_once(what).expect("it was logged");
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    rest.split([' ', '"']).next().expect("a line has a first word").parse().expect("it is an address")
}

#[tokio::test]
async fn probes_are_answered_beside_thousands_of_silent_connections_to_health_and_admin() {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[]) + "health: { endpoint: 127.0.0.1:0 }\n";
    let silent = connections();
    let sluice = SluiceProcess::start(&config, &[]).await;
    for to in [address(&sluice, "health on ").await, sluice.admin] {
        let mut used = Wire::open(to).await;
        let mut held = Vec::new();
        for index in 0..silent {
            let mut attacker = Attacker::that_reads_nothing(to, 4096).await;
            attacker.send(SAID[index % SAID.len()]).await;
            held.push(attacker);
            if index % 500 == 0 || index + 1 == silent {
                for path in ["/healthz", "/readyz"] {
                    let answer = http::send(to, "GET", path, &[], bytes::Bytes::new()).await;
                    assert_eq!(answer.status, 200, "{path} beside {index} others");
                    // One that is kept alive, as a monitor's is, makes room for none of them.
                    used.write(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await;
                    assert_eq!(used.answer().await.status, 200, "{path} beside {index} others");
                }
            }
        }
    }
}

#[tokio::test]
async fn senders_are_served_beside_more_silent_connections_than_there_may_be() {
    let up = sinks::counting().await;
    let config = yaml::up(&up.url(), &[])
        + "receivers: { otlp: { protocols: { http: { endpoint: 127.0.0.1:0, max_connections: 50 } } } }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    let body = logs(&[("a", &["x"])]);
    let length = format!("content-length: {}", body.len());
    let mut sender = Wire::open(sluice.otlp).await;
    let mut held = Vec::new();
    for index in 0..200 {
        let mut attacker = Attacker::that_reads_nothing(sluice.otlp, 4096).await;
        attacker.send(SAID[index % SAID.len()]).await;
        held.push(attacker);
        if index % 50 == 0 {
            sluice.accept(Signal::Logs, body.clone()).await;
            sender.write(head("POST /v1/logs", &["content-type: application/x-protobuf", &length])).await;
            sender.write(&body).await;
            assert_eq!(sender.answer().await.status, 200, "beside {index} others");
        }
    }
}

#[tokio::test]
async fn a_scraper_that_is_slower_than_its_page_gets_all_of_it_beside_silent_connections_however_fast_they_come()
 {
    const EXPORTERS: usize = 600;
    let up = sinks::counting().await;
    let names: Vec<String> = (0..EXPORTERS).map(|index| format!("otlp_http/up-{index}")).collect();
    let exporters: Vec<_> = names.iter().map(|name| (name.as_str(), yaml::to(&up.url(), &[]))).collect();
    let config = yaml::exporters(&exporters)
        + &yaml::by_stream(&names.join(", "))
        + "health: { endpoint: 127.0.0.1:0 }\n";
    let sluice = SluiceProcess::start(&config, &[]).await;
    // The page has what has happened.
    sluice.accept(Signal::Logs, logs(&[("a", &["x"])])).await;
    up.wait_for_records(EXPORTERS as u64, PATIENCE).await.unwrap();
    for to in [address(&sluice, "health on ").await, sluice.admin] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut scraper = socket.connect(to).await.unwrap();
        scraper
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        // The answer has begun, and from now on nobody takes any of it.
        scraper.readable().await.unwrap();
        let mut silent = Vec::new();
        for index in 0..connections().min(2_000) {
            let mut attacker = Attacker::that_reads_nothing(to, 4096).await;
            attacker.send(SAID[index % SAID.len()]).await;
            silent.push(attacker);
        }
        // All of those have been accepted, and some have made room.
        assert_eq!(http::send(to, "GET", "/healthz", &[], bytes::Bytes::new()).await.status, 200);
        let mut page = String::new();
        timeout(PATIENCE, scraper.read_to_string(&mut page)).await.unwrap().unwrap();
        assert!(page.ends_with("# EOF\n"), "it is cut off after {} bytes", page.len());
        assert!(page.len() > 512 * 1024, "{} bytes may be kept by the system", page.len());
    }
}
