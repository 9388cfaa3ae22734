// Sends a span, a counter and a log record, set up as vendors' pages have it: by the environment alone.
//
//     node guide.js PROTOCOL
//
// PROTOCOL is `http/protobuf` or `grpc`. The SDK reads OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and
// OTEL_RESOURCE_ATTRIBUTES.
"use strict";

const { diag, DiagLogLevel } = require("@opentelemetry/api");
const { defaultResource, detectResources, envDetector } = require("@opentelemetry/resources");
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const fail = (...message) => {
  console.error(...message);
  process.exitCode = 1;
};
diag.setLogger({ error: fail, warn: fail, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);

const kind = process.argv[2] === "grpc" ? "grpc" : "proto";
const exporter = (signal, name) => new (require(`@opentelemetry/exporter-${signal}-otlp-${kind}`)[name])();
const resource = defaultResource().merge(detectResources({ detectors: [envDetector] }));

async function main() {
  const spans = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(exporter("trace", "OTLPTraceExporter"))],
  });
  spans.getTracer("guide").startSpan("checkout").end();
  await spans.shutdown();

  const metrics = new MeterProvider({
    resource,
    readers: [new PeriodicExportingMetricReader({ exporter: exporter("metrics", "OTLPMetricExporter") })],
  });
  metrics.getMeter("guide").createCounter("orders").add(1);
  await metrics.shutdown();

  const processor = new BatchLogRecordProcessor({ exporter: exporter("logs", "OTLPLogExporter") });
  const logs = new LoggerProvider({ resource, processors: [processor] });
  logs.getLogger("guide").emit({ body: "paid" });
  await logs.shutdown();
}

main();
