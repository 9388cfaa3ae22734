//! An upstream that answers when it is told to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sluice::otlp::Signal;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{eventually, payload};

/// A server of OTLP/HTTP. Every request waits for an answer to be given.
#[derive(Clone)]
pub struct Gate {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    arrived: Mutex<Vec<Bytes>>,
    answers: Mutex<VecDeque<u16>>,
    given: Semaphore,
}

impl Gate {
    /// Starts; nothing is answered yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            arrived: Mutex::default(),
            answers: Mutex::default(),
            given: Semaphore::new(0),
        });
        let of_connections = state.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = of_connections.clone();
                let service = service_fn(move |request| state.clone().answer(request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(serving);
            }
        });
        Self { address, state }
    }

    /// The endpoint, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives the next answer.
    pub fn answer(&self, status: u16) {
        self.state.answers.lock().push_back(status);
        self.state.given.add_permits(1);
    }

    /// Waits until so many requests have arrived, answered or not.
    pub async fn arrived(&self, requests: usize) {
        eventually("the upstream is asked", async || {
            (self.state.arrived.lock().len() >= requests).then_some(())
        })
        .await;
    }

    /// The texts of the log records that have arrived, request by request.
    pub fn texts(&self) -> Vec<Vec<String>> {
        let texts = |body: &Bytes| {
            payload::entries(body).iter().flat_map(|entry| payload::texts(Signal::Logs, entry)).collect()
        };
        self.state.arrived.lock().iter().map(texts).collect()
    }
}

impl State {
    async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Empty<Bytes>>, Infallible> {
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        self.arrived.lock().push(body.unwrap_or_default());
        self.given.acquire().await.expect("it is never closed").forget();
        let status = self.answers.lock().pop_front().expect("an answer was given");
        let mut answer = http::Response::new(Empty::new());
        *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        Ok(answer)
    }
}
