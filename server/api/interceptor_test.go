package api

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/server"
)

// empty is every dependency of a Server, and does nothing.
type empty struct{}

func (empty) Exchange(context.Context, exchange.Request) (exchange.Receipt, error) {
	return exchange.Receipt{}, errors.New("empty")
}
func (empty) List(context.Context, ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	return nil, "", errors.New("empty")
}
func (empty) Get(context.Context, string, exchange.ID) ([]ledger.Exchange, error) {
	return nil, errors.New("empty")
}
func (empty) Verify(context.Context, exchange.Token, time.Time) (exchange.Subject, error) {
	return exchange.Subject{}, errors.New("empty")
}

func (empty) Tail(context.Context, ledger.TailQuery) ([]ledger.Exchange, ledger.Place, bool, error) {
	return nil, "", false, errors.New("empty")
}
func (empty) After(context.Context, string, exchange.ID) (ledger.Place, error) {
	return "", errors.New("empty")
}
func (empty) Summarize(context.Context, ledger.SummaryQuery) (ledger.Summary, error) {
	return ledger.Summary{}, errors.New("empty")
}

func (empty) Deeds(context.Context, ledger.DeedQuery) ([]ledger.Exchange, ledger.Cursor, error) {
	return nil, "", errors.New("empty")
}

func newEmpty(t *testing.T) *Server {
	t.Helper()
	s, err := New(Options{
		Exchanger: empty{}, Log: empty{}, Desk: lease.NewDesk(lease.DeskOptions{}), Leases: lease.NewDesk(lease.DeskOptions{}), Audit: empty{}, Fingerprint: exchange.Secret.String, Verifier: empty{}, Now: time.Now, PageKey: bytes.Repeat([]byte{7}, 32),
		Roles: func(exchange.Subject) []string { return nil }, Note: func(context.Context, exchange.Event) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Each method that is served says who may call it, and nothing else does.
func TestEveryMethodIsInTheTable(t *testing.T) {
	s := newEmpty(t)
	var served []string
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			served = append(served, "/"+service+"/"+m.Name)
		}
	}
	for _, name := range served {
		if m, ok := methods[name]; !ok || m.limit < 0 || m.limit > server.ExchangeTime(time.Millisecond) {
			t.Errorf("%s is not in the table", name)
		}
	}
	for name := range methods {
		if !slices.Contains(served, name) {
			t.Errorf("%s is in the table and not served", name)
		}
	}
}

// A call that came by no face of ours, or to a method that the table lacks, goes
// nowhere.
func TestCallsByNoFaceAreRefused(t *testing.T) {
	s := newEmpty(t)
	called := false
	handle := func(context.Context, any) (any, error) { called = true; return nil, nil }
	for name, ctx := range map[string]context.Context{
		"/cambio.v1.ExchangeService/Exchange": t.Context(),
		"/cambio.v1.ExchangeService/Unknown":  context.WithValue(t.Context(), callerKey{}, &caller{door: "grpc"}),
	} {
		if _, err := s.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: name}, handle); err == nil || called {
			t.Errorf("%s passed", name)
		}
	}
}
