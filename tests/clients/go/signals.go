package main

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// ids makes one trace; spans count up.
type ids struct{ last uint64 }

func (i *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	return traceID, i.NewSpanID(ctx, traceID)
}

func (i *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	i.last++
	return spanID(i.last)
}

func sendTraces(ctx context.Context, exporter sdktrace.SpanExporter) error {
	// One processor for both resources, so that one request carries both.
	processor := sdktrace.NewBatchSpanProcessor(exporter)
	tracer := func(of *resource.Resource, last uint64) trace.Tracer {
		provider := sdktrace.NewTracerProvider(
			sdktrace.WithSpanProcessor(processor), sdktrace.WithResource(of), sdktrace.WithIDGenerator(&ids{last}),
		)
		return provider.Tracer(
			scope,
			trace.WithInstrumentationVersion(version),
			trace.WithSchemaURL(schemaURL),
			trace.WithInstrumentationAttributes(scopeAttributes...),
		)
	}

	state, err := trace.ParseTraceState("vendor=value")
	if err != nil {
		return err
	}
	caller := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    traceID,
		SpanID:     spanID(0xA1A2A3A4A5A6A7A8),
		TraceFlags: trace.FlagsSampled,
		TraceState: state,
		Remote:     true,
	})
	linked := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{
			0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF,
		},
		SpanID:     spanID(0xE1E2E3E4E5E6E7E8),
		TraceFlags: trace.FlagsSampled,
	})
	of := tracer(checkout, 0x1100)
	inServer, server := of.Start(
		trace.ContextWithRemoteSpanContext(ctx, caller), "GET /cart/{id}",
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(now),
		trace.WithLinks(trace.Link{
			SpanContext: linked, Attributes: []attribute.KeyValue{attribute.String("why", "follows")},
		}),
		trace.WithAttributes(
			attribute.String("text", "Žofie 🚀"),
			attribute.String("empty", ""),
			attribute.Int("status", 200),
			attribute.Int64("large", 9_007_199_254_740_991),
			attribute.Int("negative", -1),
			attribute.Bool("sampled", true),
			attribute.Float64("ratio", 0.1),
			attribute.StringSlice("texts", []string{"a", "", "ü"}),
			attribute.IntSlice("integers", []int{1, 2, 3}),
			attribute.Float64Slice("doubles", []float64{0.5, -1.5}),
			attribute.BoolSlice("booleans", []bool{true, false}),
		),
	)
	_, client := of.Start(
		inServer, "SELECT", trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(after(10)),
	)
	client.AddEvent(
		"cache.miss",
		trace.WithAttributes(attribute.String("key", "cart:42"), attribute.Int("attempt", 2)),
		trace.WithTimestamp(after(20)),
	)
	client.AddEvent("retry", trace.WithTimestamp(after(30)))
	client.SetStatus(codes.Ok, "")
	client.End(trace.WithTimestamp(after(40)))
	server.SetStatus(codes.Error, "upstream timed out")
	server.End(trace.WithTimestamp(after(1_000_000_001)))

	_, producer := tracer(billing, 0x2200).Start(
		ctx, "invoice", trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(now),
	)
	producer.End(trace.WithTimestamp(after(5)))
	return processor.Shutdown(ctx)
}

func sendLogs(ctx context.Context, exporter sdklog.Exporter) error {
	processor := sdklog.NewBatchProcessor(exporter)
	logger := func(of *resource.Resource) otellog.Logger {
		provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(processor), sdklog.WithResource(of))
		return provider.Logger(
			scope,
			otellog.WithInstrumentationVersion(version),
			otellog.WithSchemaURL(schemaURL),
			otellog.WithInstrumentationAttributes(scopeAttributes...),
		)
	}

	of := logger(checkout)
	var slow, placed, refused otellog.Record
	slow.SetTimestamp(now)
	slow.SetObservedTimestamp(after(1))
	slow.SetSeverity(otellog.SeverityWarn)
	slow.SetSeverityText("WARN")
	slow.SetBody(otellog.StringValue("cart 42 is slow"))
	slow.AddAttributes(otellog.Int("attempt", 2), otellog.String("user", "Žofie 🚀"))
	of.Emit(inSpan(ctx), slow)

	placed.SetTimestamp(after(2))
	placed.SetObservedTimestamp(after(3))
	placed.SetSeverity(otellog.SeverityInfo)
	placed.SetEventName("order.placed")
	placed.SetBody(otellog.MapValue(
		otellog.Map(
			"order",
			otellog.Int("id", 42),
			otellog.Bool("paid", false),
			otellog.Float64("total", 9.75),
			otellog.Slice("items", otellog.StringValue("a"), otellog.StringValue("b")),
		),
		otellog.Bytes("raw", []byte{0x00, 0xff}),
	))
	of.Emit(ctx, placed)

	refused.SetTimestamp(after(4))
	refused.SetObservedTimestamp(after(5))
	refused.SetSeverity(otellog.SeverityError)
	refused.SetSeverityText("ERROR")
	refused.SetBody(otellog.StringValue("no funds"))
	logger(billing).Emit(ctx, refused)
	return processor.Shutdown(ctx)
}

func sendMetrics(ctx context.Context, exporter sdkmetric.Exporter) error {
	provider := func(of *resource.Resource) *sdkmetric.MeterProvider {
		buckets := sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{1, 5, 10, 50}}
		exponential := sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}
		return sdkmetric.NewMeterProvider(
			sdkmetric.WithResource(of),
			sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)),
			sdkmetric.WithView(
				sdkmetric.NewView(sdkmetric.Instrument{Name: "latency"}, sdkmetric.Stream{Aggregation: buckets}),
				sdkmetric.NewView(sdkmetric.Instrument{Name: "payload"}, sdkmetric.Stream{Aggregation: exponential}),
			),
		)
	}
	route := func(name string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String("route", name))
	}

	of := provider(checkout)
	meter := of.Meter(
		scope,
		metric.WithInstrumentationVersion(version),
		metric.WithSchemaURL(schemaURL),
		metric.WithInstrumentationAttributes(scopeAttributes...),
	)
	requests, err := meter.Int64Counter("requests", metric.WithUnit("1"), metric.WithDescription("Requests by route"))
	check(err)
	requests.Add(ctx, 3, route("/cart"))
	requests.Add(ctx, 4, route("/pay"))
	sent, err := meter.Float64Counter("sent", metric.WithUnit("By"))
	check(err)
	sent.Add(ctx, 1.5)
	depth, err := meter.Int64UpDownCounter("depth")
	check(err)
	depth.Add(ctx, -2)
	temperature, err := meter.Float64Gauge("temperature", metric.WithUnit("Cel"))
	check(err)
	temperature.Record(ctx, 21.5)
	_, err = meter.Int64ObservableGauge("observed", metric.WithInt64Callback(
		func(_ context.Context, observer metric.Int64Observer) error {
			observer.Observe(-40, metric.WithAttributes(attribute.String("sensor", "outside")))
			return nil
		},
	))
	check(err)
	latency, err := meter.Float64Histogram("latency", metric.WithUnit("ms"))
	check(err)
	for _, value := range []float64{0.5, 7, 7.5, 100} {
		latency.Record(inSpan(ctx), value, route("/cart"))
	}
	payload, err := meter.Int64Histogram("payload", metric.WithUnit("By"))
	check(err)
	for _, value := range []int64{0, 1, 2, 4, 1000} {
		payload.Record(ctx, value)
	}

	other := provider(billing)
	invoices, err := other.Meter(scope, metric.WithInstrumentationVersion(version)).Int64Counter("requests")
	check(err)
	invoices.Add(ctx, 1)
	// The exporter is shared, so only the last may shut it down.
	check(of.ForceFlush(ctx))
	return other.Shutdown(ctx)
}
