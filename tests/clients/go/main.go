// Sends traces, metrics and logs of two resources through the OpenTelemetry SDK for Go.
//
//	client PROTOCOL ENDPOINT COMPRESSION
//	client guide PROTOCOL
//
// PROTOCOL is `http/protobuf` or `grpc`, ENDPOINT `http://HOST:PORT`, COMPRESSION `none` or `gzip`. It says what
// ../python/send.py says, as far as the SDK lets it.
package main

import (
	"context"
	"encoding/binary"
	"log"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

const (
	scope     = "clients"
	version   = "2.0.0"
	schemaURL = "https://opentelemetry.io/schemas/1.27.0"
)

var (
	now     = time.Unix(1_700_000_000, 123_456_789)
	traceID = trace.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

	scopeAttributes = []attribute.KeyValue{attribute.String("scope.kind", "test")}

	checkout = resource.NewSchemaless(
		attribute.String("service.name", "checkout"),
		attribute.String("s2.stream", "tenants/alpha"),
		attribute.Int("replicas", 3),
		attribute.Float64("weight", 0.25),
		attribute.Bool("canary", true),
		attribute.StringSlice("zones", []string{"a", "b"}),
	)
	billing = resource.NewSchemaless(
		attribute.String("service.name", "billing"),
		attribute.String("s2.stream", "tenants/beta"),
	)
)

func main() {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Fatal(err) }))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if len(os.Args) == 3 && os.Args[1] == "guide" {
		check(guide(ctx, os.Args[2]))
		return
	}
	if len(os.Args) != 4 {
		log.Fatal("usage: client PROTOCOL ENDPOINT COMPRESSION, or client guide PROTOCOL")
	}
	spans, metrics, logs, err := exporters(ctx, os.Args[1], os.Args[2], os.Args[3] == "gzip")
	check(err)
	check(sendTraces(ctx, spans))
	check(sendLogs(ctx, logs))
	check(sendMetrics(ctx, metrics))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// spanID counts from what a provider starts with.
func spanID(number uint64) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], number)
	return id
}

// after is a time some nanoseconds after the first.
func after(nanoseconds time.Duration) time.Time { return now.Add(nanoseconds) }

// inSpan is a context in which a measurement or a log record belongs to the server's span.
func inSpan(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    traceID,
		SpanID:     spanID(0x1101),
		TraceFlags: trace.FlagsSampled,
	}))
}
