package provider_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// The pipeline with a real vendor before a bank: what leaves, what the bank honours
// and what the ledger says must fit.

// office is a bureau over a desk; its other parts are the least that a pipeline
// needs.
type office struct {
	*desk
	bureau exchange.Bureau
	mu     sync.Mutex
	events []exchange.Event
	write  func(exchange.Event) error // before a write; an error: not persisted
	dead   sync.Map                   // leases that nothing may rely on
	denied atomic.Bool
	epoch  atomic.Int64
}

func newOffice(t testing.TB, change ...func(*provider.VendorOptions)) *office {
	t.Helper()
	o := &office{desk: newDesk(t, change...)}
	sealer, err := exchange.NewSealer(rand.Reader, make([]byte, exchange.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	o.bureau = exchange.Bureau{
		Policy: o, Verifier: o, Governor: o, Vendor: o.vendor, Ledger: o, Observer: o, Sealer: sealer,
		Now: o.clock, Random: rand.Reader, Timeout: time.Minute,
	}
	return o
}

func (o *office) Verify(_ context.Context, token exchange.Token, now time.Time) (exchange.Subject, error) {
	return exchange.Subject{
		Name: token.Value.Reveal(), Tenant: "default", Expires: now.Add(time.Hour), Clientless: exchange.ClientlessYes,
	}, nil
}

func (o *office) Current() (exchange.Decider, error) { return o, nil }
func (o *office) Refresh(context.Context) error      { return nil }
func (o *office) Decide(exchange.Question) exchange.Decision {
	return exchange.Decision{
		Allowed: !o.denied.Load(), Refusal: exchange.KindInvalidTarget, Target: o.target, Rule: "r",
		Lifetime: 15 * time.Minute, Epoch: o.epoch.Load(),
	}
}

func (o *office) Admit(context.Context, exchange.Question, exchange.Decision) (func(error), error) {
	return func(error) {}, nil
}

func (o *office) Observe(context.Context, exchange.Report) {}

func (o *office) Intend(_ context.Context, i exchange.Intent) error {
	return o.record(i.Event, i.Epoch, i.Relies...)
}
func (o *office) Settle(_ context.Context, x exchange.Outcome) error {
	return o.record(x.Event, x.Epoch, x.Relies...)
}
func (o *office) Note(_ context.Context, e exchange.Event) error { return o.record(e, 0) }

func (o *office) record(e exchange.Event, epoch int64, relies ...exchange.ID) error {
	if o.write != nil {
		if err := o.write(e); err != nil {
			return err
		}
	}
	if (e.Type == exchange.EventIssued || e.Type == exchange.EventIntent) && epoch != o.epoch.Load() {
		return exchange.ErrStale
	}
	for _, lease := range relies {
		if _, dead := o.dead.Load(lease); dead {
			return &exchange.FallenError{Lease: lease}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	return nil
}

func (o *office) count(t exchange.EventType) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Type == t {
			n++
		}
	}
	return n
}

func (o *office) ask(subject string) (exchange.Receipt, error) {
	return o.bureau.Exchange(o.t.Context(), exchange.Request{SubjectToken: exchange.Token{Value: exchange.NewSecret(subject)}})
}

// TestTenThousandExchangesOneVend: each of 10,000 exchanges at once has its own
// issued event, one of them its intent, and the bank one account.
func TestTenThousandExchangesOneVend(t *testing.T) {
	const callers = 10_000
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
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
		if o.count(exchange.EventIssued) != 0 {
			t.Error("something was issued before the bank answered")
		}
		close(open)
		all.Wait()
		if o.bank.Calls() != 1 || o.count(exchange.EventIntent) != 1 || o.count(exchange.EventIssued) != callers {
			t.Errorf("%d calls, %d intents, %d issued", o.bank.Calls(), o.count(exchange.EventIntent), o.count(exchange.EventIssued))
		}
	})
}

// TestFollowersAfterALeaderWhoseWriteFails: its credential is dead, and a follower
// mints another.
func TestFollowersAfterALeaderWhoseWriteFails(t *testing.T) {
	for _, fails := range []exchange.EventType{exchange.EventIntent, exchange.EventIssued} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t)
			hold := make(chan struct{})
			var failed atomic.Bool
			o.write = func(e exchange.Event) error {
				if e.Type == fails && !failed.Swap(true) {
					<-hold // until everyone waits
					return errors.New("the connection was lost")
				}
				return nil
			}
			var all sync.WaitGroup
			var served, refused atomic.Int64
			for range 50 {
				all.Go(func() {
					receipt, err := o.ask("k8s:prod:llm:gateway")
					if err != nil {
						refused.Add(1)
						return
					}
					served.Add(1)
					if _, err := o.bank.Use(receipt.Credential.Value); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			close(hold)
			all.Wait()
			if served.Load() != 49 || refused.Load() != 1 || len(o.bank.Live()) != 1 {
				t.Errorf("%v fails: %d served, %d refused, %d alive", fails, served.Load(), refused.Load(), len(o.bank.Live()))
			}
		})
	}
}

// TestS31ADenyKillsWhatIsUnderWay: a deny that comes while the bank works stops the
// leader and each of its followers; what was minted is revoked.
func TestS31ADenyKillsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		open := make(chan struct{})
		o.bank.Before = func(context.Context, exchange.Grant) error { <-open; return nil }
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := o.ask("k8s:prod:llm:gateway"); exchange.KindOf(err) != exchange.KindInvalidTarget {
					t.Errorf("after the deny: %v", err)
				}
			})
		}
		synctest.Wait()
		o.denied.Store(true)
		o.epoch.Add(1)
		close(open)
		all.Wait()
		if live := o.bank.Live(); len(live) != 0 || o.count(exchange.EventIssued) != 0 || o.count(exchange.EventDenied) != 50 {
			t.Errorf("%d alive, %d issued, %d denied", len(live), o.count(exchange.EventIssued), o.count(exchange.EventDenied))
		}
	})
}

// TestManySubjectsAtOnce share nothing, and each is asked for once.
func TestManySubjectsAtOnce(t *testing.T) {
	o := newOffice(t)
	var all sync.WaitGroup
	for n := range 500 {
		subject := fmt.Sprintf("k8s:prod:llm:s%d", n%100)
		all.Go(func() {
			receipt, err := o.ask(subject)
			if err != nil {
				t.Error(err)
				return
			}
			if who, err := o.bank.Use(receipt.Credential.Value); err != nil || who != subject {
				t.Errorf("%s got the credential of %q: %v", subject, who, err)
			}
		})
	}
	all.Wait()
	if o.bank.Calls() != 100 {
		t.Errorf("%d calls for 100 subjects", o.bank.Calls())
	}
}
