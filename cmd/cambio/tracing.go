package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// tracing sends spans to a collector; nil: nowhere.
type tracing struct{ provider *trace.TracerProvider }

// newTracing opens the way to the collector at an OTLP/HTTP URL. Nothing is sent
// yet: a collector that is down keeps nobody from starting.
func newTracing(ctx context.Context, collector string) (*tracing, error) {
	if collector == "" {
		return nil, nil
	}
	where, err := url.Parse(collector)
	if err != nil {
		return nil, fmt.Errorf("trace.otlp: %w", err)
	}
	if strings.Trim(where.Path, "/") == "" {
		where.Path = "/v1/traces" // OTLP 1.0, "OTLP/HTTP Request"; the exporter takes a URL as it is
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(where.String()))
	if err != nil {
		return nil, fmt.Errorf("trace.otlp: %w", err)
	}
	return &tracing{provider: trace.NewTracerProvider(
		trace.WithBatcher(exporter),
		trace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "cambio"), attribute.String("service.version", thisBuild().Version))),
	)}, nil
}

// wrap makes a span of each request. A span has the path and no query, no header
// and no body.
func (t *tracing) wrap(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return otelhttp.NewHandler(next, "cambio",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}))
}

// close sends what is left.
func (t *tracing) close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
