package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func exporters(ctx context.Context, protocol, endpoint string, gzip bool) (
	spans sdktrace.SpanExporter, metrics sdkmetric.Exporter, logs sdklog.Exporter, err error,
) {
	switch protocol {
	case "http/protobuf":
		return overHTTP(ctx, endpoint, gzip)
	case "grpc":
		return overGRPC(ctx, endpoint, gzip)
	default:
		return nil, nil, nil, fmt.Errorf("the SDK doesn't speak `%s`", protocol)
	}
}

func overHTTP(ctx context.Context, endpoint string, gzip bool) (
	spans *otlptrace.Exporter, metrics *otlpmetrichttp.Exporter, logs *otlploghttp.Exporter, err error,
) {
	ofTraces, ofMetrics, ofLogs := otlptracehttp.NoCompression, otlpmetrichttp.NoCompression, otlploghttp.NoCompression
	if gzip {
		ofTraces = otlptracehttp.GzipCompression
		ofMetrics, ofLogs = otlpmetrichttp.GzipCompression, otlploghttp.GzipCompression
	}
	if spans, err = otlptracehttp.New(
		ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"), otlptracehttp.WithCompression(ofTraces),
	); err != nil {
		return nil, nil, nil, err
	}
	if metrics, err = otlpmetrichttp.New(
		ctx, otlpmetrichttp.WithEndpointURL(endpoint+"/v1/metrics"), otlpmetrichttp.WithCompression(ofMetrics),
	); err != nil {
		return nil, nil, nil, err
	}
	logs, err = otlploghttp.New(
		ctx, otlploghttp.WithEndpointURL(endpoint+"/v1/logs"), otlploghttp.WithCompression(ofLogs),
	)
	return spans, metrics, logs, err
}

func overGRPC(ctx context.Context, endpoint string, gzip bool) (
	spans *otlptrace.Exporter, metrics *otlpmetricgrpc.Exporter, logs *otlploggrpc.Exporter, err error,
) {
	ofTraces := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(endpoint)}
	ofMetrics := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpointURL(endpoint)}
	ofLogs := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(endpoint)}
	if gzip {
		ofTraces = append(ofTraces, otlptracegrpc.WithCompressor("gzip"))
		ofMetrics = append(ofMetrics, otlpmetricgrpc.WithCompressor("gzip"))
		ofLogs = append(ofLogs, otlploggrpc.WithCompressor("gzip"))
	}
	if spans, err = otlptracegrpc.New(ctx, ofTraces...); err != nil {
		return nil, nil, nil, err
	}
	if metrics, err = otlpmetricgrpc.New(ctx, ofMetrics...); err != nil {
		return nil, nil, nil, err
	}
	logs, err = otlploggrpc.New(ctx, ofLogs...)
	return spans, metrics, logs, err
}
