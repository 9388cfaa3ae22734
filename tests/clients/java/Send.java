import static io.opentelemetry.api.common.AttributeKey.booleanArrayKey;
import static io.opentelemetry.api.common.AttributeKey.booleanKey;
import static io.opentelemetry.api.common.AttributeKey.doubleArrayKey;
import static io.opentelemetry.api.common.AttributeKey.doubleKey;
import static io.opentelemetry.api.common.AttributeKey.longArrayKey;
import static io.opentelemetry.api.common.AttributeKey.longKey;
import static io.opentelemetry.api.common.AttributeKey.stringArrayKey;
import static io.opentelemetry.api.common.AttributeKey.stringKey;
import static java.util.concurrent.TimeUnit.NANOSECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.KeyValue;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanId;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.Aggregation;
import io.opentelemetry.sdk.metrics.InstrumentSelector;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.View;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.IdGenerator;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.time.Duration;
import java.util.List;

/**
 * Sends traces, metrics and logs of two resources through the OpenTelemetry SDK for Java.
 *
 * <pre>java -cp 'lib/*' Send.java PROTOCOL ENDPOINT COMPRESSION</pre>
 *
 * PROTOCOL is `http/protobuf` or `grpc`, ENDPOINT `http://HOST:PORT`, COMPRESSION `none` or `gzip`. It says what
 * ../python/send.py says, as far as the SDK lets it.
 */
class Send {
  static final long NOW = 1_700_000_000_123_456_789L;
  static final String TRACE = "0102030405060708090a0b0c0d0e0f10";
  static final String SCOPE = "clients";
  static final String VERSION = "2.0.0";
  static final String SCHEMA_URL = "https://opentelemetry.io/schemas/1.27.0";

  static final Resource CHECKOUT =
      Resource.create(
          Attributes.builder()
              .put("service.name", "checkout")
              .put("s2.stream", "tenants/alpha")
              .put("replicas", 3)
              .put("weight", 0.25)
              .put("canary", true)
              .put("zones", "a", "b")
              .build());
  static final Resource BILLING =
      Resource.create(Attributes.of(stringKey("service.name"), "billing", stringKey("s2.stream"), "tenants/beta"));

  record Exporters(SpanExporter spans, MetricExporter metrics, LogRecordExporter logs) {}

  static Exporters exporters(String protocol, String endpoint, String codec) {
    return switch (protocol) {
      case "http/protobuf" ->
          new Exporters(
              OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces").setCompression(codec).build(),
              OtlpHttpMetricExporter.builder().setEndpoint(endpoint + "/v1/metrics").setCompression(codec).build(),
              OtlpHttpLogRecordExporter.builder().setEndpoint(endpoint + "/v1/logs").setCompression(codec).build());
      case "grpc" ->
          new Exporters(
              OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).setCompression(codec).build(),
              OtlpGrpcMetricExporter.builder().setEndpoint(endpoint).setCompression(codec).build(),
              OtlpGrpcLogRecordExporter.builder().setEndpoint(endpoint).setCompression(codec).build());
      default -> throw new IllegalArgumentException("the SDK doesn't speak `" + protocol + "`");
    };
  }

  /** One trace; spans count up. */
  static IdGenerator ids(long last) {
    return new IdGenerator() {
      private long id = last;

      @Override
      public String generateTraceId() {
        return TRACE;
      }

      @Override
      public String generateSpanId() {
        id += 1;
        return SpanId.fromLong(id);
      }
    };
  }

  static SpanContext spanContext(String trace, String span) {
    return SpanContext.create(trace, span, TraceFlags.getSampled(), TraceState.getDefault());
  }

  static Context inSpan() {
    return Context.root().with(Span.wrap(spanContext(TRACE, SpanId.fromLong(0x1101))));
  }

  static Tracer tracer(BatchSpanProcessor processor, Resource resource, long last) {
    return SdkTracerProvider.builder()
        .addSpanProcessor(processor)
        .setResource(resource)
        .setIdGenerator(ids(last))
        .build()
        .tracerBuilder(SCOPE)
        .setInstrumentationVersion(VERSION)
        .setSchemaUrl(SCHEMA_URL)
        .build();
  }

  static void sendTraces(SpanExporter exporter) {
    // One processor for both resources, so that one request carries both.
    BatchSpanProcessor processor = BatchSpanProcessor.builder(exporter).build();
    Tracer checkout = tracer(processor, CHECKOUT, 0x1100);
    TraceState state = TraceState.builder().put("vendor", "value").build();
    SpanContext caller =
        SpanContext.createFromRemoteParent(TRACE, "a1a2a3a4a5a6a7a8", TraceFlags.getSampled(), state);
    SpanContext linked = spanContext("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "e1e2e3e4e5e6e7e8");
    Span server =
        checkout
            .spanBuilder("GET /cart/{id}")
            .setParent(Context.root().with(Span.wrap(caller)))
            .setSpanKind(SpanKind.SERVER)
            .setStartTimestamp(NOW, NANOSECONDS)
            .addLink(linked, Attributes.of(stringKey("why"), "follows"))
            .setAttribute("text", "Žofie 🚀")
            .setAttribute("empty", "")
            .setAttribute(longKey("status"), 200L)
            .setAttribute(longKey("large"), 9_007_199_254_740_991L)
            .setAttribute(longKey("negative"), -1L)
            .setAttribute(booleanKey("sampled"), true)
            .setAttribute(doubleKey("ratio"), 0.1)
            .setAttribute(stringArrayKey("texts"), List.of("a", "", "ü"))
            .setAttribute(longArrayKey("integers"), List.of(1L, 2L, 3L))
            .setAttribute(doubleArrayKey("doubles"), List.of(0.5, -1.5))
            .setAttribute(booleanArrayKey("booleans"), List.of(true, false))
            .startSpan();
    Span client =
        checkout
            .spanBuilder("SELECT")
            .setParent(Context.root().with(server))
            .setSpanKind(SpanKind.CLIENT)
            .setStartTimestamp(NOW + 10, NANOSECONDS)
            .startSpan();
    Attributes miss = Attributes.of(stringKey("key"), "cart:42", longKey("attempt"), 2L);
    client.addEvent("cache.miss", miss, NOW + 20, NANOSECONDS);
    client.addEvent("retry", NOW + 30, NANOSECONDS);
    client.setStatus(StatusCode.OK);
    client.end(NOW + 40, NANOSECONDS);
    server.setStatus(StatusCode.ERROR, "upstream timed out");
    server.end(NOW + 1_000_000_001, NANOSECONDS);

    Span producer =
        tracer(processor, BILLING, 0x2200)
            .spanBuilder("invoice")
            .setSpanKind(SpanKind.PRODUCER)
            .setStartTimestamp(NOW, NANOSECONDS)
            .startSpan();
    producer.end(NOW + 5, NANOSECONDS);
    check(processor.shutdown().join(10, SECONDS).isSuccess());
  }

  static Logger logger(BatchLogRecordProcessor processor, Resource resource) {
    return SdkLoggerProvider.builder()
        .addLogRecordProcessor(processor)
        .setResource(resource)
        .build()
        .loggerBuilder(SCOPE)
        .setInstrumentationVersion(VERSION)
        .setSchemaUrl(SCHEMA_URL)
        .build();
  }

  static void sendLogs(LogRecordExporter exporter) {
    BatchLogRecordProcessor processor = BatchLogRecordProcessor.builder(exporter).build();
    Logger checkout = logger(processor, CHECKOUT);
    checkout
        .logRecordBuilder()
        .setTimestamp(NOW, NANOSECONDS)
        .setObservedTimestamp(NOW + 1, NANOSECONDS)
        .setContext(inSpan())
        .setSeverity(Severity.WARN)
        .setSeverityText("WARN")
        .setBody("cart 42 is slow")
        .setAttribute(longKey("attempt"), 2L)
        .setAttribute(stringKey("user"), "Žofie 🚀")
        .emit();
    checkout
        .logRecordBuilder()
        .setTimestamp(NOW + 2, NANOSECONDS)
        .setObservedTimestamp(NOW + 3, NANOSECONDS)
        .setSeverity(Severity.INFO)
        .setEventName("order.placed")
        .setBody(
            Value.of(
                KeyValue.of(
                    "order",
                    Value.of(
                        KeyValue.of("id", Value.of(42)),
                        KeyValue.of("paid", Value.of(false)),
                        KeyValue.of("total", Value.of(9.75)),
                        KeyValue.of("items", Value.of(Value.of("a"), Value.of("b"))))),
                KeyValue.of("raw", Value.of(new byte[] {0x00, (byte) 0xff}))))
        .emit();
    logger(processor, BILLING)
        .logRecordBuilder()
        .setTimestamp(NOW + 4, NANOSECONDS)
        .setObservedTimestamp(NOW + 5, NANOSECONDS)
        .setSeverity(Severity.ERROR)
        .setSeverityText("ERROR")
        .setBody("no funds")
        .emit();
    check(processor.shutdown().join(10, SECONDS).isSuccess());
  }

  static SdkMeterProvider meters(MetricExporter exporter, Resource resource) {
    Aggregation explicit = Aggregation.explicitBucketHistogram(List.of(1.0, 5.0, 10.0, 50.0));
    Aggregation exponential = Aggregation.base2ExponentialBucketHistogram();
    return SdkMeterProvider.builder()
        .setResource(resource)
        .registerMetricReader(PeriodicMetricReader.builder(exporter).setInterval(Duration.ofHours(1)).build())
        .registerView(
            InstrumentSelector.builder().setName("latency").build(), View.builder().setAggregation(explicit).build())
        .registerView(
            InstrumentSelector.builder().setName("payload").build(),
            View.builder().setAggregation(exponential).build())
        .build();
  }

  static void sendMetrics(MetricExporter exporter) {
    SdkMeterProvider checkout = meters(exporter, CHECKOUT);
    var meter =
        checkout.meterBuilder(SCOPE).setInstrumentationVersion(VERSION).setSchemaUrl(SCHEMA_URL).build();
    var requests = meter.counterBuilder("requests").setUnit("1").setDescription("Requests by route").build();
    requests.add(3, Attributes.of(stringKey("route"), "/cart"));
    requests.add(4, Attributes.of(stringKey("route"), "/pay"));
    meter.counterBuilder("sent").ofDoubles().setUnit("By").build().add(1.5);
    meter.upDownCounterBuilder("depth").build().add(-2);
    meter.gaugeBuilder("temperature").setUnit("Cel").build().set(21.5);
    meter
        .gaugeBuilder("observed")
        .ofLongs()
        .buildWithCallback(observer -> observer.record(-40, Attributes.of(stringKey("sensor"), "outside")));
    var latency = meter.histogramBuilder("latency").setUnit("ms").build();
    for (double value : new double[] {0.5, 7, 7.5, 100}) {
      latency.record(value, Attributes.of(stringKey("route"), "/cart"), inSpan());
    }
    var payload = meter.histogramBuilder("payload").ofLongs().setUnit("By").build();
    for (long value : new long[] {0, 1, 2, 4, 1000}) {
      payload.record(value);
    }

    SdkMeterProvider billing = meters(exporter, BILLING);
    billing.meterBuilder(SCOPE).setInstrumentationVersion(VERSION).build().counterBuilder("requests").build().add(1);
    // The exporter is shared, so only the last may shut it down.
    check(checkout.forceFlush().join(10, SECONDS).isSuccess());
    check(billing.shutdown().join(10, SECONDS).isSuccess());
  }

  static void check(boolean succeeded) {
    if (!succeeded) {
      throw new IllegalStateException("not everything was taken");
    }
  }

  public static void main(String[] args) {
    Exporters exporters = exporters(args[0], args[1], args[2]);
    sendTraces(exporters.spans());
    sendLogs(exporters.logs());
    sendMetrics(exporters.metrics());
    // Not the readers' threads.
    System.exit(0);
  }
}
