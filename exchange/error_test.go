package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

func TestKindsHaveDistinctNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range exchange.Kinds() {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is named %q", k, k)
		}
		seen[k.String()] = true
	}
	if got := exchange.Kind(250).String(); got != "internal" {
		t.Errorf("a kind that is none is named %q", got)
	}
}

func TestKindOf(t *testing.T) {
	fault := exchange.Fault(exchange.KindThrottled, "slower", context.Canceled)
	for _, c := range []struct {
		err  error
		want exchange.Kind
	}{
		{nil, exchange.KindInternal},
		{errors.New("x"), exchange.KindInternal},
		{fault, exchange.KindThrottled},
		{fmt.Errorf("outer: %w", fault), exchange.KindThrottled},
		{exchange.Fault(exchange.KindInvalidActor, "", fault), exchange.KindInvalidActor},
	} {
		if got := exchange.KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
	if !errors.Is(fault, context.Canceled) {
		t.Error("the cause is not to be found")
	}
}

func TestEventTypesAreStored(t *testing.T) {
	// The numbers are in every database: they never change.
	for n, want := range map[exchange.EventType]string{
		1: "intent", 2: "issued", 3: "denied", 4: "failed", 5: "unknown", 6: "renewed", 7: "revoked", 8: "expired",
		9: "signed", 10: "deny_added", 11: "deny_removed", 12: "policy_loaded", 13: "queried", 14: "approved",
	} {
		if n.String() != want || n.Terminal() != (n >= 2 && n <= 5) {
			t.Errorf("event type %d is %q, terminal %t", n, n, n.Terminal())
		}
	}
}
