"""Sends traces, metrics and logs of two resources through the OpenTelemetry SDK for Python.

    send.py PROTOCOL ENDPOINT COMPRESSION

PROTOCOL is `http/protobuf`, `http/json` or `grpc`, ENDPOINT `http://HOST:PORT`, COMPRESSION `none`, `gzip` or
`deflate`. The senders in the other languages say the same, as far as their SDKs let them: whatever could differ from one
run to the next (ids, times) is fixed, but for the times of metrics, which the SDK sets.
"""

import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

NOW = 1_700_000_000_123_456_789
TRACE = 0x0102030405060708090A0B0C0D0E0F10
SCOPE = {"name": "clients", "version": "2.0.0", "schema_url": "https://opentelemetry.io/schemas/1.27.0"}

CHECKOUT = Resource(
    {
        "service.name": "checkout",
        "s2.stream": "tenants/alpha",
        "replicas": 3,
        "weight": 0.25,
        "canary": True,
        "zones": ["a", "b"],
    }
)
BILLING = Resource({"service.name": "billing", "s2.stream": "tenants/beta"})


class Ids(IdGenerator):
    """One trace; spans count from 1."""

    def __init__(self, first):
        self.next = first

    def generate_trace_id(self):
        return TRACE

    def generate_span_id(self):
        self.next += 1
        return self.next


def exporters(protocol, endpoint, compression):
    """Exporters of spans, metrics and logs."""
    if protocol == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        codec = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
        codec["deflate"] = grpc.Compression.Deflate
        options = {"endpoint": endpoint, "insecure": True, "compression": codec[compression]}
        return [kind(**options) for kind in (OTLPSpanExporter, OTLPMetricExporter, OTLPLogExporter)]
    if protocol == "http/json":
        from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.common.http import Compression

    kinds = {"traces": OTLPSpanExporter, "metrics": OTLPMetricExporter, "logs": OTLPLogExporter}
    codec = Compression(compression)
    return [kind(endpoint=f"{endpoint}/v1/{signal}", compression=codec) for signal, kind in kinds.items()]


def context(trace_id, span_id, is_remote=False, state=None):
    return SpanContext(trace_id, span_id, is_remote, TraceFlags(TraceFlags.SAMPLED), state)


def send_traces(exporter):
    # One processor for both resources, so that one request carries both.
    processor = BatchSpanProcessor(exporter)

    def tracer(resource, first_id):
        provider = TracerProvider(resource=resource, id_generator=Ids(first_id), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        return provider.get_tracer(
            SCOPE["name"], SCOPE["version"], schema_url=SCOPE["schema_url"], attributes={"scope.kind": "test"}
        )

    checkout = tracer(CHECKOUT, 0x1100)
    caller = context(TRACE, 0xA1A2A3A4A5A6A7A8, is_remote=True, state=TraceState([("vendor", "value")]))
    server = checkout.start_span(
        "GET /cart/{id}",
        context=trace.set_span_in_context(trace.NonRecordingSpan(caller)),
        kind=SpanKind.SERVER,
        attributes={
            "text": "Žofie 🚀",
            "empty": "",
            "status": 200,
            "large": 9_007_199_254_740_991,
            "negative": -1,
            "sampled": True,
            "ratio": 0.1,
            "texts": ["a", "", "ü"],
            "integers": [1, 2, 3],
            "doubles": [0.5, -1.5],
            "booleans": [True, False],
        },
        links=[Link(context(0xF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF, 0xE1E2E3E4E5E6E7E8), {"why": "follows"})],
        start_time=NOW,
    )
    client = checkout.start_span(
        "SELECT", context=trace.set_span_in_context(server), kind=SpanKind.CLIENT, start_time=NOW + 10
    )
    client.add_event("cache.miss", {"key": "cart:42", "attempt": 2}, timestamp=NOW + 20)
    client.add_event("retry", timestamp=NOW + 30)
    client.set_status(Status(StatusCode.OK))
    client.end(NOW + 40)
    server.set_status(Status(StatusCode.ERROR, "upstream timed out"))
    server.end(NOW + 1_000_000_001)

    producer = tracer(BILLING, 0x2200).start_span("invoice", kind=SpanKind.PRODUCER, start_time=NOW)
    producer.end(NOW + 5)
    processor.shutdown()


def send_logs(exporter):
    processor = BatchLogRecordProcessor(exporter)

    def logger(resource):
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_log_record_processor(processor)
        return provider.get_logger(SCOPE["name"], SCOPE["version"], SCOPE["schema_url"], {"scope.kind": "test"})

    checkout = logger(CHECKOUT)
    span = trace.set_span_in_context(trace.NonRecordingSpan(context(TRACE, 0x1101)))
    checkout.emit(
        LogRecord(
            timestamp=NOW,
            observed_timestamp=NOW + 1,
            context=span,
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body="cart 42 is slow",
            attributes={"attempt": 2, "user": "Žofie 🚀"},
        )
    )
    checkout.emit(
        LogRecord(
            timestamp=NOW + 2,
            observed_timestamp=NOW + 3,
            severity_number=SeverityNumber.INFO,
            body={"order": {"id": 42, "paid": False, "total": 9.75, "items": ["a", "b"]}, "raw": b"\x00\xff"},
            event_name="order.placed",
        )
    )
    logger(BILLING).emit(
        LogRecord(
            timestamp=NOW + 4,
            observed_timestamp=NOW + 5,
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="no funds",
        )
    )
    processor.shutdown()


def send_metrics(exporter):
    def provider(resource):
        views = [
            View(
                instrument_type=Histogram,
                instrument_name="latency",
                aggregation=ExplicitBucketHistogramAggregation([1, 5, 10, 50]),
            ),
            View(
                instrument_type=Histogram,
                instrument_name="payload",
                aggregation=ExponentialBucketHistogramAggregation(),
            ),
        ]
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        return MeterProvider([reader], resource, shutdown_on_exit=False, views=views)

    checkout = provider(CHECKOUT)
    meter = checkout.get_meter(SCOPE["name"], SCOPE["version"], SCOPE["schema_url"], {"scope.kind": "test"})
    span = trace.set_span_in_context(trace.NonRecordingSpan(context(TRACE, 0x1101)))

    requests = meter.create_counter("requests", unit="1", description="Requests by route")
    requests.add(3, {"route": "/cart"})
    requests.add(4, {"route": "/pay"})
    meter.create_counter("sent", unit="By").add(1.5)
    meter.create_up_down_counter("depth").add(-2)
    meter.create_gauge("temperature", unit="Cel").set(21.5)
    observe = lambda _options: [Observation(-40, {"sensor": "outside"})]  # noqa: E731
    meter.create_observable_gauge("observed", [observe])
    latency = meter.create_histogram("latency", unit="ms")
    for value in (0.5, 7.0, 7.5, 100.0):
        latency.record(value, {"route": "/cart"}, context=span)
    payload = meter.create_histogram("payload", unit="By")
    for value in (0, 1, 2, 4, 1000):
        payload.record(value)

    billing = provider(BILLING)
    billing.get_meter(SCOPE["name"], SCOPE["version"]).create_counter("requests").add(1)
    # The exporter is shared, so only the last may shut it down.
    checkout.force_flush()
    billing.shutdown()


def main():
    spans, metrics, logs = exporters(*sys.argv[1:])
    send_traces(spans)
    send_logs(logs)
    send_metrics(metrics)


main()
