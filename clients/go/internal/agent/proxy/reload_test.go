package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// A configuration that is no longer in force keeps no connection to any upstream: not
// those that wait for the next request of a user, and not the one of a request that was
// under way, when that has ended.
func TestAReloadLeavesNoConnectionBehind(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	var open sync.WaitGroup
	arrived, goOn := make(chan struct{}), make(chan struct{})
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/slow" {
			close(arrived)
			<-goOn
		}
	}, func(s *httptest.Server) {
		s.EnableHTTP2 = false
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Done()
			}
		}
	})
	s := read(t, "listen: 127.0.0.1:0\ncallers: any\n"+openai(u, ", paths: [/v1/**], cookie_passthrough: {enabled: true, cookie_names: [sid]}")+
		fmt.Sprintf("- {name: plain, provider: openai, upstream: %q, ca_file: %q, target: gpt, paths: [/v1/**]}\n", u.URL, u.ca))
	room, err := proxy.New(s, proxy.Deps{
		Targets: target.New(server.Client(), map[string]target.Settings{"gpt": {}}), Log: slog.New(slog.DiscardHandler), Now: server.Clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(room.Handlers()[s.Listen])
	front.Config.ConnContext = listen.WithConn
	front.Start()
	defer front.Close()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- room.Run(ctx) }()

	ask := func(path, user string) {
		req, err := http.NewRequest(http.MethodGet, front.URL+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Cookie", "sid="+user)
		resp, err := front.Client().Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	for _, user := range []string{"a", "b", "c"} {
		ask("/openai/v1/models", user)
		ask("/plain/v1/models", user)
	}
	var slow sync.WaitGroup
	slow.Go(func() { ask("/openai/v1/slow", "a") })
	<-arrived
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(goOn)
	slow.Wait()
	open.Wait() // for ever, if one stays
}
