package keep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/keep"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// turns is a timer that the test turns: each wait is told, and goes on when the test lets
// it, when the clock has moved by as much.
type turns struct {
	asked chan time.Duration
	goOn  chan struct{}
}

func (w *turns) wait(ctx context.Context, d time.Duration) bool {
	select {
	case w.asked <- d:
	case <-ctx.Done():
		return false
	}
	select {
	case <-w.goOn:
		return true
	case <-ctx.Done():
		return false
	}
}

// TestKeep: asked for at the start, renewed ahead, and a failure is in the log once.
func TestKeep(t *testing.T) {
	server := standin.New(t)
	refuse := false
	server.Serve("gpt", func(_ url.Values, n int) standin.Answer {
		if refuse {
			return standin.Answer{Status: 400, Code: "invalid_target", Description: "no longer"}
		}
		return standin.Answer{Value: "vended-secret-" + strings.Repeat("x", n), Life: 10 * time.Minute}
	})
	targets := target.New(server.Client(), map[string]target.Settings{"gpt": {}, "users": {}})
	targets.PerUser("users")
	var log bytes.Buffer
	w := &turns{asked: make(chan time.Duration), goOn: make(chan struct{})}
	k := keep.Keeper{Targets: targets, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: server.Clock.Now, Wait: w.wait}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	source, err := targets.Source("gpt")
	if err != nil {
		t.Fatal(err)
	}
	turn := func() time.Duration { // between two turns nobody but the test works
		d := <-w.asked
		if d < time.Second || d > time.Minute {
			t.Errorf("waits %s", d)
		}
		return d
	}
	exchanges := func(n int) bool { ok, failed := source.Exchanges(); return int(ok+failed) >= n }
	for server.Exchanges("gpt") < 2 { // half a minute or so at a time, until it was renewed
		server.Clock.Advance(turn())
		w.goOn <- struct{}{}
	}
	if held, err := source.Held(); held == nil || err != nil {
		t.Fatalf("%v", err)
	}
	turn()
	for !exchanges(2) {
		server.Clock.Advance(time.Millisecond) // the renewal ends in its own time
	}
	refuse = true
	w.goOn <- struct{}{}
	for n := 0; n < 30 || !exchanges(4); n++ {
		server.Clock.Advance(turn() + time.Minute)
		w.goOn <- struct{}{}
	}
	turn()
	stop()
	<-done
	if n := strings.Count(log.String(), "credential is held"); n != 1 {
		t.Errorf("told %d times that it is held:\n%s", n, log.String())
	}
	if n := strings.Count(log.String(), "credential cannot be had"); n != 1 {
		t.Errorf("told %d times that it cannot be had:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "vended-secret-") || server.Exchanges("users") != 0 {
		t.Error("a secret is in the log, or users were asked for")
	}
}

func TestOnceTellsEach(t *testing.T) {
	server := standin.New(t)
	server.Serve("good", func(url.Values, int) standin.Answer { return standin.Answer{Value: "vended-secret-1", Life: time.Hour} })
	k := keep.Keeper{Targets: target.New(server.Client(), map[string]target.Settings{"good": {}, "bad": {}, "worse": {}})}
	err := k.Once(t.Context())
	var fault *keep.Fault
	var refused *cambio.Error
	if !errors.As(err, &fault) || fault.Target != "bad" || !errors.As(err, &refused) || refused.Code != "invalid_target" {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(err.Error(), "target worse: ") || strings.Contains(err.Error(), "good") {
		t.Errorf("got %v", err)
	}
}

func TestTimer(t *testing.T) {
	if !keep.Timer(t.Context(), time.Nanosecond) {
		t.Error("time did not pass")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if keep.Timer(ctx, time.Hour) {
		t.Error("it waited for nobody")
	}
}
