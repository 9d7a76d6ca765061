package provider_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cambio-sts/cambio/exchange"
)

// revoke takes a credential back as another replica does: this vendor is not told.
func (o *office) revoke(c exchange.Credential) {
	o.t.Helper()
	ctx, cancel := o.bounded()
	defer cancel()
	if err := o.bank.Revoke(ctx, o.target, c.RevokeWith); err != nil {
		o.t.Fatal(err)
	}
	o.dead.Store(c.Lease, true)
}

// TestS26RevokedByAnotherReplica: what another replica has revoked is at hand here,
// and is not handed out; all who ask share the next one.
func TestS26RevokedByAnotherReplica(t *testing.T) {
	const callers = 100
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		first, err := o.ask("k8s:prod:llm:gateway")
		if err != nil {
			t.Fatal(err)
		}
		o.revoke(first.Credential)
		open := make(chan struct{})
		o.bank.Before = func(context.Context, exchange.Grant) error { <-open; return nil }
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				receipt, err := o.ask("k8s:prod:llm:gateway")
				if err != nil {
					t.Error(err)
				} else if _, err := o.bank.Use(receipt.Credential.Value); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // one is at the bank, and all others wait for it
		close(open)
		all.Wait()
		if o.bank.Calls() != 2 || o.count(exchange.EventIntent) != 2 || o.count(exchange.EventIssued) != 1+callers {
			t.Errorf("%d calls, %d intents, %d issued", o.bank.Calls(), o.count(exchange.EventIntent), o.count(exchange.EventIssued))
		}
	})
}

// TestS26RevokedBeforeItsFollowersAreServed: the credential is revoked as soon as the
// leader's outcome is durable, while others wait for its flight.
func TestS26RevokedBeforeItsFollowersAreServed(t *testing.T) {
	const followers = 50
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		open := make(chan struct{})
		o.bank.Before = func(context.Context, exchange.Grant) error { <-open; return nil }
		var leader atomic.Pointer[string]
		o.write = func(e exchange.Event) error {
			if e.Type == exchange.EventIssued && !e.Record.Reused && leader.CompareAndSwap(nil, &e.Record.Lease) {
				id, err := exchange.ParseID(e.Record.Lease)
				if err != nil {
					return err
				}
				o.dead.Store(id, true) // the leader itself relies on nothing
			}
			return nil
		}
		var all sync.WaitGroup
		var dead atomic.Int64
		for range 1 + followers {
			all.Go(func() {
				receipt, err := o.ask("k8s:prod:llm:gateway")
				if err != nil {
					t.Error(err)
				} else if receipt.Credential.Lease.String() == *leader.Load() {
					dead.Add(1)
				}
			})
		}
		synctest.Wait()
		close(open)
		all.Wait()
		if dead.Load() != 1 || o.bank.Calls() != 2 {
			t.Errorf("%d got the first credential, want its leader alone; %d calls", dead.Load(), o.bank.Calls())
		}
	})
}

// TestS26RevokedOneAfterTheOther: while what is handed out is being revoked, whoever
// asks is served or told to try again; and in the end it is as ever.
func TestS26RevokedOneAfterTheOther(t *testing.T) {
	o := newOffice(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 100 {
				receipt, err := o.ask("k8s:prod:llm:gateway")
				if err != nil && exchange.KindOf(err) != exchange.KindUnavailable {
					t.Error(err)
				}
				if err == nil && n%5 == 0 {
					o.revoke(receipt.Credential)
				}
			}
		})
	}
	all.Wait()
	receipt, err := o.ask("k8s:prod:llm:gateway")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.bank.Use(receipt.Credential.Value); err != nil {
		t.Error(err)
	}
}
