package killpoint

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// child performs one exchange with the real pipeline, vendor, ledger and engine,
// and dies where the plan says.
func child(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	ctx := context.Background()
	var (
		s   store.Store
		err error
	)
	if p.SQLite != "" {
		s, err = sqlite.Open(ctx, p.SQLite, sqlite.Options{})
	} else {
		s, err = postgres.Open(ctx, p.Postgres, postgres.Options{AllowUnsafe: true})
	}
	if err != nil {
		return err
	}
	sealer, err := exchange.NewSealer(rand.Reader, make([]byte, exchange.SealKeySize))
	if err != nil {
		return err
	}
	// An hour ago: the reaper that comes after need not wait for the deadline.
	now := func() time.Time { return time.Now().Add(-time.Hour) }
	d := deaths{at: p.Step}
	bureau := &exchange.Bureau{
		Policy: fixed{p}, Verifier: fixed{p}, Governor: fixed{p}, Observer: fixed{p},
		Vendor: dyingVendor{provider.NewVendor(provider.VendorOptions{Deps: provider.Deps{Now: now, Random: rand.Reader}}), d},
		Ledger: ledger.New(ledger.Options{Log: dyingLog{s, d}, Now: now}),
		Sealer: sealer, Now: now, Random: rand.Reader,
	}
	receipt, err := bureau.Exchange(ctx, exchange.Request{Door: "test", SubjectToken: exchange.Token{Value: exchange.NewSecret("the-subject-token")}})
	if err != nil {
		return err
	}
	d.pass("before answer")
	fmt.Println("received", receipt.Exchange)
	d.pass("after answer")
	return nil
}

// deaths is the one point at which this process ends.
type deaths struct{ at string }

func (d deaths) pass(point string) {
	if d.at == point {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

type dyingLog struct {
	ledger.Log
	deaths
}

func (l dyingLog) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	for _, e := range entries {
		l.pass("before append of " + e.Type.String())
	}
	results, err := l.Log.Append(ctx, entries)
	for _, e := range entries {
		l.pass("after append of " + e.Type.String())
	}
	return results, err
}

type dyingVendor struct {
	exchange.Vendor
	deaths
}

func (v dyingVendor) Reserve(ctx context.Context, g exchange.Grant) (exchange.Slot, error) {
	v.pass("before reserve")
	slot, err := v.Vendor.Reserve(ctx, g)
	v.pass("after reserve")
	return dyingSlot{slot, v.deaths}, err
}

type dyingSlot struct {
	exchange.Slot
	deaths
}

func (s dyingSlot) Vend(ctx context.Context) (exchange.Credential, error) {
	s.pass("before vend")
	c, err := s.Slot.Vend(ctx)
	s.pass("after vend")
	return c, err
}

func (s dyingSlot) Release(ctx context.Context, c exchange.Credential, settled bool) error {
	s.pass("before release")
	err := s.Slot.Release(ctx, c, settled)
	s.pass("after release")
	return err
}

// fixed lets everybody in: what is tried here comes after deciding.
type fixed struct{ plan }

func (f fixed) Current() (exchange.Decider, error) { return f, nil }
func (fixed) Refresh(context.Context) error        { return nil }
func (fixed) Observe(context.Context, exchange.Report) {
}

func (fixed) Admit(context.Context, exchange.Question, exchange.Decision) (func(error), error) {
	return func(error) {}, nil
}

func (fixed) Verify(_ context.Context, _ exchange.Token, now time.Time) (exchange.Subject, error) {
	return exchange.Subject{
		Name: "k8s:prod:llm:gateway", Tenant: "default", Trust: "prod", Kind: exchange.TrustKubernetes,
		Issued: now, Expires: now.Add(time.Hour), Clientless: exchange.ClientlessYes,
	}, nil
}

func (f fixed) Decide(q exchange.Question) exchange.Decision {
	return exchange.Decision{
		Allowed: true, Rule: "all", Lifetime: 10 * time.Minute,
		Target: &exchange.Target{
			Tenant: "default", Name: "account", Provider: "bank", Hash: [32]byte{1},
			Facts:    exchange.Facts{Types: []exchange.TokenType{exchange.TokenTypeAccessToken}},
			Settings: settings(f),
		},
	}
}

// settings open a driver of the bank, or one that makes its own.
type settings struct{ plan }

func (s settings) Open(provider.Deps) (provider.Driver, error) {
	if s.Upstream {
		return teller(s), nil
	}
	return mint{teller(s)}, nil
}

func (settings) Validate() []error { return nil }
func (settings) Facts() exchange.Facts {
	return exchange.Facts{Types: []exchange.TokenType{exchange.TokenTypeAccessToken}}
}

// teller mints at the bank.
type teller struct{ plan }

func (d teller) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if d.Upstream {
		if err := d.ask(ctx, http.MethodPost, g.Exchange); err != nil {
			return exchange.Credential{}, err
		}
	}
	return exchange.Credential{
		Value: exchange.NewSecret("vended-secret-" + g.Exchange.String()), TokenType: "Bearer",
		IssuedType: exchange.TokenTypeAccessToken, Issued: g.Now, Expires: g.NotAfter,
		RevokeWith: exchange.NewSecret(g.Exchange.String()),
	}, nil
}

// ask mints (POST) or takes back (DELETE) at the bank.
func (d teller) ask(ctx context.Context, method string, id exchange.ID) error {
	request, err := http.NewRequestWithContext(ctx, method, d.Bank+"?exchange="+id.String(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the bank says %s", response.Status)
	}
	return nil
}

// mint makes its own.
type mint struct{ teller }

func (mint) Local() {}
