// Sends traces, metrics and logs of two resources through the OpenTelemetry SDK for Node.js.
//
//     node send.js PROTOCOL ENDPOINT COMPRESSION
//
// PROTOCOL is `http/protobuf`, `http/json` or `grpc`, ENDPOINT `http://HOST:PORT`, COMPRESSION `none` or `gzip`. It
// says what ../python/send.py says, as far as the SDK lets it.
"use strict";

const { diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, ValueType } =
  require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { TraceState } = require("@opentelemetry/core");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { AggregationType, MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const TRACE = "0102030405060708090a0b0c0d0e0f10";
const SCOPE = ["clients", "2.0.0", { schemaUrl: "https://opentelemetry.io/schemas/1.27.0" }];

const CHECKOUT = resourceFromAttributes({
  "service.name": "checkout",
  "s2.stream": "tenants/alpha",
  replicas: 3,
  weight: 0.25,
  canary: true,
  zones: ["a", "b"],
});
const BILLING = resourceFromAttributes({ "service.name": "billing", "s2.stream": "tenants/beta" });

/** A time some nanoseconds after the first. */
function after(nanoseconds) {
  const sum = 123_456_789 + nanoseconds;
  return [1_700_000_000 + Math.floor(sum / 1e9), sum % 1e9];
}

/** Exporters of spans, metrics and logs. */
function exporters(protocol, endpoint, compression) {
  const kind = { "http/protobuf": "proto", "http/json": "http", grpc: "grpc" }[protocol];
  const of = (signal, name) => {
    const Exporter = require(`@opentelemetry/exporter-${signal}-otlp-${kind}`)[name];
    const path = { trace: "traces" }[signal] ?? signal;
    return new Exporter({ url: kind === "grpc" ? endpoint : `${endpoint}/v1/${path}`, compression });
  };
  return {
    spans: of("trace", "OTLPTraceExporter"),
    metrics: of("metrics", "OTLPMetricExporter"),
    logs: of("logs", "OTLPLogExporter"),
  };
}

function spanContext(traceId, spanId, more = {}) {
  return { traceId, spanId, traceFlags: TraceFlags.SAMPLED, ...more };
}

async function sendTraces(exporter) {
  // One processor for both resources, so that one request carries both.
  const processor = new BatchSpanProcessor(exporter);
  const tracer = (resource, last) => {
    const idGenerator = {
      generateTraceId: () => TRACE,
      generateSpanId: () => (++last).toString(16).padStart(16, "0"),
    };
    return new BasicTracerProvider({ resource, idGenerator, spanProcessors: [processor] }).getTracer(...SCOPE);
  };

  const checkout = tracer(CHECKOUT, 0x1100);
  const caller = spanContext(TRACE, "a1a2a3a4a5a6a7a8", {
    isRemote: true,
    traceState: new TraceState("vendor=value"),
  });
  const linked = spanContext("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "e1e2e3e4e5e6e7e8");
  const server = checkout.startSpan(
    "GET /cart/{id}",
    {
      kind: SpanKind.SERVER,
      startTime: after(0),
      links: [{ context: linked, attributes: { why: "follows" } }],
      attributes: {
        text: "Žofie 🚀",
        empty: "",
        status: 200,
        large: 9_007_199_254_740_991,
        negative: -1,
        sampled: true,
        ratio: 0.1,
        texts: ["a", "", "ü"],
        integers: [1, 2, 3],
        doubles: [0.5, -1.5],
        booleans: [true, false],
      },
    },
    trace.setSpanContext(ROOT_CONTEXT, caller),
  );
  const inServer = trace.setSpan(ROOT_CONTEXT, server);
  const client = checkout.startSpan("SELECT", { kind: SpanKind.CLIENT, startTime: after(10) }, inServer);
  client.addEvent("cache.miss", { key: "cart:42", attempt: 2 }, after(20));
  client.addEvent("retry", after(30));
  client.setStatus({ code: SpanStatusCode.OK });
  client.end(after(40));
  server.setStatus({ code: SpanStatusCode.ERROR, message: "upstream timed out" });
  server.end(after(1_000_000_001));

  const producer = tracer(BILLING, 0x2200).startSpan("invoice", { kind: SpanKind.PRODUCER, startTime: after(0) });
  producer.end(after(5));
  await processor.shutdown();
}

async function sendLogs(exporter) {
  const processor = new BatchLogRecordProcessor({ exporter });
  const logger = (resource) => new LoggerProvider({ resource, processors: [processor] }).getLogger(...SCOPE);

  const checkout = logger(CHECKOUT);
  checkout.emit({
    timestamp: after(0),
    observedTimestamp: after(1),
    context: trace.setSpanContext(ROOT_CONTEXT, spanContext(TRACE, "0000000000001101")),
    severityNumber: SeverityNumber.WARN,
    severityText: "WARN",
    body: "cart 42 is slow",
    attributes: { attempt: 2, user: "Žofie 🚀" },
  });
  checkout.emit({
    timestamp: after(2),
    observedTimestamp: after(3),
    severityNumber: SeverityNumber.INFO,
    eventName: "order.placed",
    body: {
      order: { id: 42, paid: false, total: 9.75, items: ["a", "b"] },
      raw: Uint8Array.of(0x00, 0xff),
    },
  });
  logger(BILLING).emit({
    timestamp: after(4),
    observedTimestamp: after(5),
    severityNumber: SeverityNumber.ERROR,
    severityText: "ERROR",
    body: "no funds",
  });
  await processor.shutdown();
}

async function sendMetrics(exporter) {
  const provider = (resource) => {
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const boundaries = [1, 5, 10, 50];
    const views = [
      {
        instrumentName: "latency",
        aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries } },
      },
      { instrumentName: "payload", aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } },
    ];
    return new MeterProvider({ resource, readers: [reader], views });
  };

  const checkout = provider(CHECKOUT);
  const meter = checkout.getMeter(...SCOPE);
  const requests = meter.createCounter("requests", { unit: "1", description: "Requests by route", valueType: ValueType.INT });
  requests.add(3, { route: "/cart" });
  requests.add(4, { route: "/pay" });
  meter.createCounter("sent", { unit: "By" }).add(1.5);
  meter.createUpDownCounter("depth", { valueType: ValueType.INT }).add(-2);
  meter.createGauge("temperature", { unit: "Cel" }).record(21.5);
  const observed = meter.createObservableGauge("observed", { valueType: ValueType.INT });
  observed.addCallback((result) => result.observe(-40, { sensor: "outside" }));
  const inSpan = trace.setSpanContext(ROOT_CONTEXT, spanContext(TRACE, "0000000000001101"));
  const latency = meter.createHistogram("latency", { unit: "ms" });
  for (const value of [0.5, 7, 7.5, 100]) {
    latency.record(value, { route: "/cart" }, inSpan);
  }
  const payload = meter.createHistogram("payload", { unit: "By" });
  for (const value of [0, 1, 2, 4, 1000]) {
    payload.record(value);
  }

  const billing = provider(BILLING);
  billing.getMeter("clients", "2.0.0").createCounter("requests", { valueType: ValueType.INT }).add(1);
  // The exporter is shared, so only the last may shut it down.
  await checkout.forceFlush();
  await billing.shutdown();
}

async function main() {
  const fail = (...message) => {
    console.error(...message);
    process.exitCode = 1;
  };
  diag.setLogger({ error: fail, warn: fail, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);
  const { spans, metrics, logs } = exporters(...process.argv.slice(2));
  await sendTraces(spans);
  await sendLogs(logs);
  await sendMetrics(metrics);
  // The exporter of `checkout`'s reader is shut down, but its timer would keep the process.
  process.exit();
}

main();
