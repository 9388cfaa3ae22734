//! An upstream that speaks OTLP/gRPC by tonic, which nobody here wrote.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use sluice::otlp::Signal;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{eventually, payload};

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which method.
    pub signal: Signal,
    /// All of it.
    pub metadata: MetadataMap,
    /// The other end of its connection.
    pub from: SocketAddr,
    /// The texts of its records.
    pub texts: Vec<String>,
    /// Whether it was answered with success.
    pub taken: bool,
}

/// How a call is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// All of it is taken.
    Take,
    /// So many are rejected, and why.
    Partly(i64, String),
    /// Nothing is taken.
    Refuse(Status),
    /// Never.
    Hang,
}

type Script = Box<dyn FnMut(&Call) -> Reply + Send>;

/// A server and what it received. It ends with the test's runtime.
pub struct GrpcUpstream {
    /// Where it listens.
    pub address: SocketAddr,
    state: State,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct State {
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Mutex<Script>>,
}

impl GrpcUpstream {
    /// One that answers by a script.
    pub fn new(script: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        Self::with(Server::builder(), script)
    }

    /// One that takes everything.
    pub fn taking() -> Self {
        Self::new(|_| Reply::Take)
    }

    /// One with options of the server.
    pub fn with(mut server: Server, script: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = incoming.local_addr().expect("it is bound");
        let state = State { calls: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) };
        macro_rules! service {
            ($server:ident) => {
                $server::new(state.clone())
                    .accept_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Zstd)
                    .max_encoding_message_size(usize::MAX)
            };
        }
        let router = server
            .add_service(service!(TraceServiceServer))
            .add_service(service!(MetricsServiceServer))
            .add_service(service!(LogsServiceServer));
        let task = tokio::spawn(async move {
            router.serve_with_incoming(incoming).await.expect("the server runs");
        });
        Self { address, state, task }
    }

    /// `endpoint` and `tls` of an exporter that sends there without TLS.
    pub fn options(&self) -> String {
        format!("endpoint: '{}', tls: {{ insecure: true }}", self.address)
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().expect("nobody panics with it").clone()
    }

    /// The texts of what was taken, in order.
    pub fn texts(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.taken).flat_map(|call| call.texts).collect()
    }

    /// Waits until so many records have been taken.
    pub async fn records(&self, records: usize) {
        eventually("the records arrive", async || (self.texts().len() >= records).then_some(())).await;
    }

    /// How many connections calls came on.
    pub fn connections(&self) -> usize {
        self.calls().iter().map(|call| call.from).collect::<HashSet<_>>().len()
    }
}

impl Drop for GrpcUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn answer<T: Message>(&self, signal: Signal, request: Request<T>) -> Result<(i64, String), Status> {
        let from = request.remote_addr().expect("it came by TCP");
        let (metadata, _, message) = request.into_parts();
        let entries = payload::entries(&message.encode_to_vec());
        let texts = entries.iter().flat_map(|entry| payload::texts(signal, entry)).collect();
        let mut call = Call { signal, metadata, from, texts, taken: false };
        let reply = self.script.lock().expect("nobody panics with it")(&call);
        call.taken = matches!(reply, Reply::Take | Reply::Partly(..));
        self.calls.lock().expect("nobody panics with it").push(call);
        match reply {
            Reply::Take => Ok((0, String::new())),
            Reply::Partly(rejected, why) => Ok((rejected, why)),
            Reply::Refuse(status) => Err(status),
            Reply::Hang => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl TraceService for State {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.answer(Signal::Traces, request).await?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for State {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.answer(Signal::Metrics, request).await?;
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for State {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (rejected_log_records, error_message) = self.answer(Signal::Logs, request).await?;
        let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}
