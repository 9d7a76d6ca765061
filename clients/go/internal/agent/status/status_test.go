package status_test

import (
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func sample() *status.Report {
	return &status.Report{
		Version: "v1.2.3", Server: "https://cambio.example", Time: now, Started: now.Add(-26 * time.Hour), Waiting: []string{"target claude: …"},
		Config: status.Config{File: "/etc/cambio/agent.yaml", Loaded: now.Add(-90 * time.Second), Fault: "/etc/cambio/agent.yaml:4:9: targets.gpt.lifetme: no such key; did you mean lifetime?"},
		Targets: []status.Target{
			{Name: "bedrock", State: status.StateHeld, Expires: now.Add(14*time.Minute + 5*time.Second), Renews: now.Add(11 * time.Minute), Exchanges: 12},
			{Name: "claude", State: status.StateMissing, Failures: 3, Error: &status.Error{Message: "cambio: invalid_target: ask for one target that you may use (exchange 01a1fe15-56d3-742e-b070-324912224a8b)"}},
			{Name: "gpt", State: status.StateAged, Expires: now.Add(40 * time.Second), Renews: now.Add(-time.Minute), Exchanges: 1, Failures: 2, Error: &status.Error{Message: "cambio: unreachable: no answer\x1b[2J"}},
			{Name: "orders", State: status.StatePerUser},
		},
		Doors:  []status.Door{{Name: "aws", Address: "127.0.0.1:9901", Targets: []string{"bedrock"}}},
		Files:  []status.File{{Path: "/var/run/secrets/cambio/somewhere/deep/in/a/folder/of/a/long/name/gpt.token", Targets: []string{"gpt"}, Written: now.Add(-time.Minute)}, {Path: "/f", Targets: []string{"claude"}, Fault: "it cannot be had"}},
		Routes: []status.Route{{Name: "openai", Address: "127.0.0.1:9902/openai", Upstream: "https://api.openai.com", Target: "gpt"}},
	}
}

// TestPage holds the page in testdata, as it is at 80 columns.
func TestPage(t *testing.T) {
	var b strings.Builder
	if err := sample().Write(&b, status.Style{}); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/page.txt"
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestPageFits: no line is wider than the terminal, and text from outside moves no cursor.
func TestPageFits(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		var b strings.Builder
		if err := sample().Write(&b, status.Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Error("an escape without colours")
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("at %d columns a line has %d: %q", width, n, line)
			}
		}
	}
	var b strings.Builder
	if err := sample().Write(&b, status.Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[32mheld\x1b[0m") || strings.Contains(b.String(), "\x1b[2J") {
		t.Errorf("colours: %q", b.String())
	}
}

// TestOf walks a target through its states, by the clock of the server's test.
func TestOf(t *testing.T) {
	server := standin.New(t)
	refuse := false
	server.Serve("gpt", func(url.Values, int) standin.Answer {
		if refuse {
			return standin.Answer{Status: 400, Code: "invalid_target", Description: "no longer"}
		}
		return standin.Answer{Value: "vended-secret-1", Life: time.Hour}
	})
	client := server.Client()
	targets := target.New(client, map[string]target.Settings{"gpt": {}, "users": {}})
	targets.PerUser("users")
	is := func(want status.State, lacking int) status.Target {
		t.Helper()
		list := status.Of(targets, server.Clock.Now())
		if len(list) != 2 || list[0].State != want || list[1].State != status.StatePerUser {
			t.Fatalf("%+v, want %s", list, want)
		}
		if lines := status.Lacking(list); len(lines) != lacking {
			t.Errorf("%s: lacking %q", want, lines)
		}
		return list[0]
	}
	is(status.StateWaiting, 1)
	source, err := targets.Source("gpt")
	if err != nil {
		t.Fatal(err)
	}
	refuse = true
	if _, err := source.Credential(t.Context()); err == nil {
		t.Fatal("no refusal")
	}
	if got := is(status.StateMissing, 1); got.Error.Code != "invalid_target" || got.Error.ExchangeID != "exchange-refused" || got.Failures != 1 {
		t.Errorf("%+v", got)
	}
	refuse = false
	server.Clock.Advance(time.Minute)
	if _, err := source.Credential(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := is(status.StateHeld, 0); got.ExpiresIn != 3600 || got.Exchanges != 1 || got.ExchangeID == "" || got.Error != nil {
		t.Errorf("%+v", got)
	}
	refuse = true
	if credential, err := source.Credential(t.Context()); err != nil {
		t.Fatal(err)
	} else if _, err := source.Renew(t.Context(), credential.Value); err == nil {
		t.Fatal("no refusal")
	}
	is(status.StateAged, 0)
	server.Clock.Advance(2 * time.Hour)
	is(status.StateMissing, 0) // it was had once: the workload has started
}
