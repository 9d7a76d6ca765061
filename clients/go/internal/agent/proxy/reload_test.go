package proxy_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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

// A reload keeps users' credentials where they would be asked for in the same way, and drops
// them where they would not. Each token is verified by what holds then.
func TestUsersCredentialsOutliveAReload(t *testing.T) {
	clock := standin.New(t).Clock
	p := newIDP(t, clock)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+r.Header.Get("X-Api-Key"))
	})
	chat := target.Settings{Scopes: []string{"chat"}, Lifetime: time.Minute}
	for name, c := range map[string]struct {
		old, new string // in the settings
		target   target.Settings
		client   bool // whether there is another
		asked    int  // for each user, in all
		status   int  // afterwards; 0: 200
	}{
		"nothing changes":       {target: chat, asked: 1},
		"limits":                {old: "gateway:", new: "limits: {concurrent: 3}, headers: {x-team: a}, gateway:", target: chat, asked: 1},
		"more users":            {old: "audience:", new: "max_users: 2000, audience:", target: chat, asked: 1},
		"claims that all have":  {old: "audience:", new: "required_claims: {azp: cli}, audience:", target: chat, asked: 1},
		"claims of nobody":      {old: "audience:", new: "required_claims: {azp: web}, audience:", target: chat, asked: 1, status: http.StatusUnauthorized},
		"the gateway's name":    {old: "audience: gw", new: "audience: web", target: chat, asked: 1, status: http.StatusUnauthorized},
		"scopes":                {target: target.Settings{Scopes: []string{"chat", "tools"}, Lifetime: time.Minute}, asked: 2},
		"lifetime":              {target: target.Settings{Scopes: []string{"chat"}, Lifetime: time.Hour}, asked: 2},
		"where the key goes":    {old: "gateway:", new: "auth: {header: x-api-key}, gateway:", target: chat, asked: 2},
		"the route":             {old: "gateway:", new: "name: other, prefix: /openai, gateway:", target: chat, asked: 2},
		"the agent, or its CAs": {target: chat, client: true, asked: 2},
		"the actor":             {old: "audience:", new: "act: false, audience:", target: chat, asked: 1, status: http.StatusBadGateway}, // asked for, in vain
	} {
		t.Run(name, func(t *testing.T) {
			e := newExchanges(t, true)
			set := listen.New(slog.New(slog.DiscardHandler), time.Minute)
			defer set.Close()
			const address = "127.0.0.1:0"
			text := "listen: " + address + "\n" + gatewayRoute(u, p, "")
			client := e.client(t, clock)
			var room *proxy.Room
			load := func(text string, of target.Settings) {
				t.Helper()
				var err error
				if room, err = proxy.New(read(t, text), proxy.Deps{
					Targets: target.New(client, map[string]target.Settings{"gpt": of}),
					Log:     slog.New(slog.DiscardHandler), Now: clock.Now, Previous: room,
				}); err != nil {
					t.Fatal(err)
				}
				if err := set.Update(map[string]listen.Endpoint{address: {Handler: room.Handlers()[address]}}); err != nil {
					t.Fatal(err)
				}
			}
			users := map[string]string{"alice": p.token(nil), "bob": p.token(func(c map[string]any) { c["sub"] = "bob" })}
			ask := func(status, n int) {
				t.Helper()
				for user, token := range users {
					req, err := http.NewRequest(http.MethodPost, "http://"+set.Bound()[address]+"/openai/v1/responses", strings.NewReader("{}"))
					if err != nil {
						t.Fatal(err)
					}
					bearer(token)(req)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if want := fmt.Sprintf("vended-secret-%s-%d", user, n); err != nil || resp.StatusCode != status || status == http.StatusOK && string(got) != want {
						t.Errorf("%d %.40q, %v; want %q", resp.StatusCode, got, err, want)
					}
				}
			}
			load(text, chat)
			ask(http.StatusOK, 1)
			if c.client {
				client = e.client(t, clock)
			}
			changed := strings.Replace(text, c.old, c.new, 1)
			if c.new != "" && changed == text {
				t.Fatal("nothing was changed")
			}
			for range 2 { // the second time nothing changes
				load(changed, c.target)
				ask(cmp.Or(c.status, http.StatusOK), c.asked)
			}
			if n, all := e.count(); n != 2 || all != 2*c.asked {
				t.Errorf("%d exchanges for %d users", all, n)
			}
		})
	}
}
