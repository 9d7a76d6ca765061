package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

const traceID, parentID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

func TestTraceparent(t *testing.T) {
	for header, ok := range map[string]bool{
		"00-" + traceID + "-" + parentID + "-01":                  true,
		"00-" + traceID + "-" + parentID + "-00":                  true,
		"cc-" + traceID + "-" + parentID + "-01-what-is-to-come":  true,
		"cc-" + traceID + "-" + parentID + "-01":                  true,
		"cc-" + traceID + "-" + parentID + "-01.what":             false,
		"00-" + traceID + "-" + parentID + "-01-more":             false,
		"ff-" + traceID + "-" + parentID + "-01":                  false,
		"00-" + strings.Repeat("0", 32) + "-" + parentID + "-01":  false,
		"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01":   false,
		"00-" + strings.ToUpper(traceID) + "-" + parentID + "-01": false,
		"00-" + traceID + "-" + parentID + "-1":                   false,
		"00-" + traceID[1:] + "-" + parentID + "-01":              false,
		"00_" + traceID + "-" + parentID + "-01":                  false,
		" 00-" + traceID + "-" + parentID + "-01":                 false,
		"00-" + traceID[:31] + "g-" + parentID + "-01":            false,
		"00-" + traceID[:30] + "\"}-" + parentID + "-01":          false,
		"": false,
	} {
		id, got := server.ParseTraceparent([]string{header})
		if got != ok || ok && id != traceID {
			t.Errorf("%q: %q %v", header, id, got)
		}
	}
	good := "00-" + traceID + "-" + parentID + "-01"
	if _, ok := server.ParseTraceparent([]string{good, good}); ok {
		t.Error("two headers are one trace")
	}
	if _, ok := server.ParseTraceparent(nil); ok {
		t.Error("a trace out of nothing")
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-" + traceID + "-" + parentID + "-01")
	f.Add("01-" + traceID + "-" + parentID + "-01-x")
	f.Fuzz(func(t *testing.T, header string) {
		id, ok := server.ParseTraceparent([]string{header})
		if ok != (len(id) == 32) {
			t.Fatalf("%q: %q %v", header, id, ok)
		}
		for _, c := range id {
			if !strings.ContainsRune("0123456789abcdef", c) {
				t.Fatalf("%q from %q", id, header)
			}
		}
	})
}

func TestLogLinesCarryTheFactsOfTheirRequest(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(server.NewLogHandler(slog.NewJSONHandler(&out, nil))).With("component", "door")
	id := exchange.ID{0x01, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80}
	h := server.Entry(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.InfoContext(r.Context(), "before")
		server.FactsOf(r.Context()).SetExchange(id)
		log.InfoContext(r.Context(), "after")
	}), server.EntryOptions{Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "203.0.113.9:1"
	r.Header.Set("Traceparent", "00-"+traceID+"-"+parentID+"-01")
	h.ServeHTTP(httptest.NewRecorder(), r)
	log.InfoContext(context.Background(), "outside")

	var lines []map[string]any
	for d := json.NewDecoder(&out); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	before, after, outside := lines[0], lines[1], lines[2]
	for _, line := range []map[string]any{before, after} {
		if line["trace_id"] != traceID || line["client_ip"] != "203.0.113.9" || line["component"] != "door" {
			t.Errorf("%v", line)
		}
	}
	if before["exchange"] != nil || after["exchange"] != id.String() {
		t.Errorf("%v then %v", before, after)
	}
	if outside["trace_id"] != nil {
		t.Errorf("%v", outside)
	}
}

// Where a tracer runs in front, the log and the ledger name its trace.
func TestTheTracersTraceWins(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{1}})
	var facts *server.Facts
	h := server.Entry(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { facts = server.FactsOf(r.Context()) }),
		server.EntryOptions{Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Traceparent", "00-"+traceID+"-"+parentID+"-01")
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(trace.ContextWithSpanContext(r.Context(), span)))
	if facts.TraceID != span.TraceID().String() {
		t.Errorf("%s", facts.TraceID)
	}
}

func TestRequestsWithoutATraceGetOneEach(t *testing.T) {
	seen := map[string]bool{}
	h := server.Entry(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen[server.FactsOf(r.Context()).TraceID] = true }),
		server.EntryOptions{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	for range 100 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	for id := range seen {
		if _, ok := server.ParseTraceparent([]string{"00-" + id + "-" + parentID + "-01"}); !ok {
			t.Errorf("%q is no trace id", id)
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100", len(seen))
	}
}

func TestFactsOutsideOfARequest(t *testing.T) {
	f := server.FactsOf(context.Background())
	f.SetExchange(exchange.ID{})
	if f.TraceID != "" || f.ClientIP.IsValid() || !f.Exchange().IsZero() {
		t.Errorf("%v", f.TraceID)
	}
}
