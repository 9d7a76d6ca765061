package proxy_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// What the routes may serve at a time always has its connections.
func TestS36ThereAreConnectionsForEveryRoute(t *testing.T) {
	server := standin.New(t)
	for limit, want := range map[int]int{0: listen.DefaultPlaces, 1: listen.DefaultPlaces, 1000: 4000} {
		text := "listen: 127.0.0.1:0\nroutes:\n"
		for _, name := range []string{"a", "b"} {
			text += fmt.Sprintf("- {name: %s, provider: openai, target: gpt, limits: {concurrent: %d}}\n", name, limit)
		}
		room, err := proxy.New(read(t, text), proxy.Deps{
			Targets: target.New(server.Client(), map[string]target.Settings{"gpt": {}}), Log: slog.New(slog.DiscardHandler), Now: server.Clock.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := room.Places(); got != want {
			t.Errorf("%d each: %d connections", limit, got)
		}
	}
}
