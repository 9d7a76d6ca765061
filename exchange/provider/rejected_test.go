package provider_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// refused is a grant whose caller says that a resource refused a credential.
func refused(c exchange.Credential) func(*exchange.Grant) {
	return func(g *exchange.Grant) { g.Rejected = sha256.Sum256([]byte(c.Value.Reveal())) }
}

func TestS23ARefusedCredentialIsReplacedOnce(t *testing.T) {
	d := newDesk(t)
	_, first := d.must(d.grant())
	d.advance(time.Minute)

	other := d.grant(func(g *exchange.Grant) { g.Rejected = [32]byte{1} })
	if mode, c := d.must(other); mode != exchange.ModeHit || !c.Value.Equal(first.Value) {
		t.Errorf("another credential was refused, and this one replaced: mode %d", mode)
	}

	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, c, err := d.exchange(d.grant(refused(first)), true); err != nil || c.Value.Equal(first.Value) {
				t.Errorf("after a refusal the same again: %v", err)
			}
		})
	}
	all.Wait()
	if calls := d.bank.Calls(); calls != 2 {
		t.Errorf("fifty refusals of one credential called the bank %d times", calls-1)
	}

	// What was minted a moment ago is not refused for its age.
	mode, second := d.must(d.grant())
	if again, c := d.must(d.grant(refused(second))); mode != exchange.ModeHit || again != exchange.ModeHit || !c.Value.Equal(second.Value) {
		t.Errorf("modes %d and %d", mode, again)
	}
	d.advance(11 * time.Second)
	if mode, c := d.must(d.grant(refused(second))); mode != exchange.ModeUpstream || c.Value.Equal(second.Value) {
		t.Errorf("later: mode %d", mode)
	}
	// Who comes late with the first gets what there is.
	if mode, _ := d.must(d.grant(refused(first))); mode != exchange.ModeHit {
		t.Errorf("a credential that was replaced long ago: mode %d", mode)
	}
}

func TestARefusedCredentialServesWhileItsProviderIsDown(t *testing.T) {
	d := newDesk(t)
	_, first := d.must(d.grant())
	d.advance(time.Minute)
	d.bank.Before = func(context.Context, exchange.Grant) error {
		return exchange.Fault(exchange.KindUnavailable, "try again", errors.New("the line is dead"))
	}
	mode, c, err := d.exchange(d.grant(refused(first)), true)
	if err != nil || !c.Value.Equal(first.Value) {
		t.Errorf("mode %d: %v", mode, err)
	}
}
