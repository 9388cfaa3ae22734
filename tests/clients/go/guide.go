package main

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// guide sends a span, a counter and a log record, set up as vendors' pages have it: by the environment alone. The SDK reads
// OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES.
func guide(ctx context.Context, protocol string) error {
	of, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return err
	}
	spans, metrics, logs, err := byEnvironment(ctx, protocol)
	if err != nil {
		return err
	}

	traced := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(of))
	_, span := traced.Tracer("guide").Start(ctx, "checkout")
	span.End()
	if err := traced.Shutdown(ctx); err != nil {
		return err
	}

	measured := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)), sdkmetric.WithResource(of),
	)
	orders, err := measured.Meter("guide").Int64Counter("orders")
	if err != nil {
		return err
	}
	orders.Add(ctx, 1)
	if err := measured.Shutdown(ctx); err != nil {
		return err
	}

	logged := sdklog.NewLoggerProvider(
		sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)), sdklog.WithResource(of),
	)
	var record otellog.Record
	record.SetTimestamp(time.Now())
	record.SetBody(otellog.StringValue("paid"))
	logged.Logger("guide").Emit(ctx, record)
	return logged.Shutdown(ctx)
}

func byEnvironment(ctx context.Context, protocol string) (
	spans sdktrace.SpanExporter, metrics sdkmetric.Exporter, logs sdklog.Exporter, err error,
) {
	switch protocol {
	case "http/protobuf":
		if spans, err = otlptracehttp.New(ctx); err != nil {
			return nil, nil, nil, err
		}
		if metrics, err = otlpmetrichttp.New(ctx); err != nil {
			return nil, nil, nil, err
		}
		logs, err = otlploghttp.New(ctx)
	case "grpc":
		if spans, err = otlptracegrpc.New(ctx); err != nil {
			return nil, nil, nil, err
		}
		if metrics, err = otlpmetricgrpc.New(ctx); err != nil {
			return nil, nil, nil, err
		}
		logs, err = otlploggrpc.New(ctx)
	default:
		err = fmt.Errorf("the SDK doesn't speak `%s`", protocol)
	}
	return spans, metrics, logs, err
}
