import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;

/**
 * Sends a span, a counter and a log record, set up as vendors' pages have it: by the environment alone.
 *
 * <pre>java -cp 'lib/*' Guide.java PROTOCOL</pre>
 *
 * PROTOCOL is `http/protobuf` or `grpc`, as OTEL_EXPORTER_OTLP_PROTOCOL has it. The SDK reads that, OTEL_EXPORTER_OTLP_ENDPOINT,
 * OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES.
 */
class Guide {
  public static void main(String[] arguments) {
    try (OpenTelemetrySdk sdk = AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk()) {
      sdk.getTracer("guide").spanBuilder("checkout").startSpan().end();
      sdk.getMeter("guide").counterBuilder("orders").build().add(1);
      sdk.getLogsBridge().get("guide").logRecordBuilder().setBody("paid").emit();
    }
  }
}
