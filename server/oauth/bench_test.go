package oauth_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/oauth"
)

type instant struct{}

func (instant) Exchange(context.Context, exchange.Request) (exchange.Receipt, error) {
	return exchange.Receipt{Exchange: exchangeID, Credential: credential()}, nil
}

// discard is a ResponseWriter that costs nothing, so that the door is measured.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

func BenchmarkTokenEndpoint(b *testing.B) {
	h := oauth.New(oauth.Options{
		Issuer: issuer, Exchanger: instant{}, Keys: fixedKeys{}, Now: func() time.Time { return start },
		Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	for name, handler := range map[string]http.Handler{"door": h, "entry": server.Entry(h, server.EntryOptions{Logger: quiet})} {
		b.Run(name, func(b *testing.B) {
			body := with("subject_token", strings.Repeat("a", 900), "scope", "tools.read")
			template := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
			template.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			template.ContentLength = int64(len(body))
			b.ReportAllocs()
			for b.Loop() {
				r := *template
				r.Body = io.NopCloser(strings.NewReader(body))
				handler.ServeHTTP(&discard{header: make(http.Header, 8)}, &r)
			}
		})
	}
}
