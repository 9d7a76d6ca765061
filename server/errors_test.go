package server_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// Every kind has a row of its own making: the zero row, or the internal one for
// a kind that is not internal, means that somebody forgot the table.
func TestEveryKindHasARow(t *testing.T) {
	internal := server.RowOf(exchange.KindInternal)
	for _, kind := range exchange.Kinds() {
		row := server.RowOf(kind)
		ours := kind == exchange.KindInternal || kind == exchange.KindMisconfigured
		switch {
		case row.OAuth == "" || row.GRPC == codes.OK || row.HTTP < 400:
			t.Errorf("%s: the row %+v is no failure", kind, row)
		case http.StatusText(row.HTTP) == "":
			t.Errorf("%s: %d is no HTTP status", kind, row.HTTP)
		case !ours && row == internal:
			t.Errorf("%s: falls through to internal", kind)
		case ours != (row.Level == slog.LevelError):
			t.Errorf("%s: level %s", kind, row.Level)
		case (row.HTTP >= 500) != (row.Level >= slog.LevelWarn && row.HTTP >= 500):
			t.Errorf("%s: a %d logged at %s goes unseen", kind, row.HTTP, row.Level)
		}
		if server.Advice(kind, "") == "" {
			t.Errorf("%s: no advice", kind)
		}
	}
}

func TestAnUnknownKindIsInternal(t *testing.T) {
	if got := server.RowOf(exchange.Kind(255)); got != server.RowOf(exchange.KindInternal) {
		t.Errorf("got %+v", got)
	}
}

// RFC 8693 §2.2.2: a bad or refused subject or actor token is invalid_request
// with 400; a refused target is invalid_target.
func TestRFC8693Section2_2_2ErrorCodes(t *testing.T) {
	want := map[exchange.Kind]string{
		exchange.KindInvalidSubject: "invalid_request",
		exchange.KindInvalidActor:   "invalid_request",
		exchange.KindReplayed:       "invalid_request",
		exchange.KindInvalidTarget:  "invalid_target",
	}
	for kind, code := range want {
		if row := server.RowOf(kind); row.OAuth != code || row.HTTP != http.StatusBadRequest {
			t.Errorf("%s: %s %d", kind, row.OAuth, row.HTTP)
		}
	}
}

func TestAdviceKeepsInternalsInside(t *testing.T) {
	cause := errors.New("pq: password authentication failed")
	for _, kind := range []exchange.Kind{exchange.KindInternal, exchange.KindMisconfigured, exchange.Kind(255)} {
		if got := server.Advice(kind, cause.Error()); strings.Contains(got, "password") {
			t.Errorf("%s leaks %q", kind, got)
		}
	}
	if got := server.Advice(exchange.KindInvalidScope, "ask for less"); got != "ask for less" {
		t.Errorf("got %q", got)
	}
}
