package server_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/server"
)

// through sends one request to a handler behind Entry, over a real connection.
func through(t *testing.T, h http.HandlerFunc, path string) (*http.Response, string, string) {
	t.Helper()
	var log bytes.Buffer
	s := httptest.NewServer(server.Entry(h, server.EntryOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	response, err := s.Client().Get(s.URL + path)
	var body []byte
	if err == nil {
		body, _ = io.ReadAll(response.Body) // a cut body is part of what is looked at
		_ = response.Body.Close()
	}
	s.Close() // the access log is complete once every handler has returned
	return response, string(body), log.String()
}

func TestPanicsSayNothing(t *testing.T) {
	response, body, log := through(t, func(http.ResponseWriter, *http.Request) { panic("token hunter2") }, "/")
	if response.StatusCode != http.StatusInternalServerError || strings.Contains(body, "hunter2") || !strings.Contains(body, "server_error") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if strings.Contains(log, "hunter2") || !strings.Contains(log, "panic=string") || !strings.Contains(log, "entry_test.go") || !strings.Contains(log, "status=500") {
		t.Errorf("%s", log)
	}
}

func TestAFaultOfTheRuntimeIsNamed(t *testing.T) {
	_, _, log := through(t, func(http.ResponseWriter, *http.Request) { _ = []int{}[len(log0)] }, "/")
	if !strings.Contains(log, "index out of range") {
		t.Errorf("%s", log)
	}
}

var log0 = "x"

// Half an answer must not look like a whole one.
func TestAPanicInMidAnswerCutsTheConnection(t *testing.T) {
	response, body, log := through(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"half":`)
		w.(http.Flusher).Flush()
		panic("hunter2")
	}, "/")
	if response != nil && strings.Contains(body, "}") {
		t.Errorf("%s", body)
	}
	if !strings.Contains(log, "a handler panicked") {
		t.Errorf("%s", log)
	}
}

func TestHeadersThatKeepBrowsersAtBay(t *testing.T) {
	response, _, _ := through(t, func(http.ResponseWriter, *http.Request) {}, "/")
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": ""} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	s := httptest.NewTLSServer(server.Entry(http.NotFoundHandler(), server.EntryOptions{Logger: slog.New(slog.DiscardHandler)}))
	defer s.Close()
	response, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Strict-Transport-Security") == "" {
		t.Error("TLS without Strict-Transport-Security")
	}
}

// The access log has what an operator needs and nothing that a caller might have
// put a token into, save the path.
func TestAccessLogHoldsNoQueryAndNoHeader(t *testing.T) {
	_, _, log := through(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	}, "/pot?subject_token=hunter2")
	if strings.Contains(log, "hunter2") || strings.Contains(log, "subject_token") {
		t.Errorf("%s", log)
	}
	for _, want := range []string{"method=GET", "path=/pot", "status=418", "bytes=15", "us="} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is missing in %s", want, log)
		}
	}
	_, _, log = through(t, func(http.ResponseWriter, *http.Request) {}, "/"+strings.Repeat("a", 1000)+"?x")
	if len(log) > 400 {
		t.Errorf("a long path makes a long line: %d", len(log))
	}
}

func TestASilentHandlerIs200(t *testing.T) {
	_, _, log := through(t, func(http.ResponseWriter, *http.Request) {}, "/")
	if !strings.Contains(log, "status=200") {
		t.Errorf("%s", log)
	}
}
