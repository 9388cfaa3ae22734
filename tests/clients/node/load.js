// Sends spans, metrics and log records without an end, as an application does, set up by the environment alone.
//
//     node load.js
//
// The SDK reads OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_RESOURCE_ATTRIBUTES, and how often it exports.
"use strict";

const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-proto");
const { OTLPMetricExporter } = require("@opentelemetry/exporter-metrics-otlp-proto");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { defaultResource, detectResources, envDetector } = require("@opentelemetry/resources");
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");

const resource = defaultResource().merge(detectResources({ detectors: [envDetector] }));
const every = Number(process.env.OTEL_METRIC_EXPORT_INTERVAL);
const spans = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
const metrics = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(), exportIntervalMillis: every, exportTimeoutMillis: every })],
});
const logs = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })] });

const tracer = spans.getTracer("load");
const orders = metrics.getMeter("load").createCounter("orders");
const logger = logs.getLogger("load");

setInterval(() => {
  const span = tracer.startSpan("payment");
  orders.add(1);
  logger.emit({ body: "paid" });
  span.end();
}, 20);
