package listen

import (
	"log/slog"
	"net/http"
)

// Served is the server of an endpoint, for a listener of the test.
func Served(e Endpoint) *http.Server {
	b := New(slog.New(slog.DiscardHandler), 0).newServer(nil)
	b.exchange(&e)
	return b.http
}
