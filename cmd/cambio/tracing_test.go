package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTraces: a collector gets a span of each request, under the caller's trace,
// and no secret with it.
func TestTraces(t *testing.T) {
	got := make(chan []byte, 8)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
				return
			}
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		got <- append([]byte(r.URL.Path+" "), text...)
	}))
	defer collector.Close()
	tracing, err := newTracing(t.Context(), collector.URL)
	if err != nil {
		t.Fatal(err)
	}
	handler := tracing.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token?subject_token=hunter2", strings.NewReader("subject_token=hunter2"))
	r.Header.Set("Authorization", "Bearer hunter2")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if err := tracing.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	span := <-got
	if !bytes.HasPrefix(span, []byte("/v1/traces ")) {
		t.Errorf("sent to %.40q", span)
	}
	trace := []byte{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c}
	for _, want := range [][]byte{trace, []byte("/oauth2/token"), []byte("cambio"), []byte("service.name")} {
		if !bytes.Contains(span, want) {
			t.Errorf("%q is not in the span", want)
		}
	}
	if bytes.Contains(span, []byte("hunter2")) {
		t.Error("S39: the span holds a secret")
	}
}

// TestNoTracing: without a collector there is nothing in the way.
func TestNoTracing(t *testing.T) {
	tracing, err := newTracing(t.Context(), "")
	if err != nil || tracing != nil {
		t.Fatal(tracing, err)
	}
	w := httptest.NewRecorder()
	tracing.wrap(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
	if err := tracing.close(t.Context()); err != nil {
		t.Error(err)
	}
}
