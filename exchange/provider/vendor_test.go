package provider_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// desk is a vendor before a bank.
type desk struct {
	t      testing.TB
	vendor *provider.Vendor
	bank   *providertest.Upstream
	target *exchange.Target
	now    atomic.Int64
	meter  meter
}

type meter struct {
	mu     sync.Mutex
	counts map[string]int
	ages   []time.Duration
}

func (m *meter) Reserved(kind string, mode exchange.Mode, waited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[string]int{}
	}
	m.counts[fmt.Sprintf("%s %d %t", kind, mode, waited)]++
}

func (m *meter) Vended(kind, method string, _ time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[fmt.Sprintf("%s %s vended: %t", kind, method, err == nil)]++
}

func (m *meter) Served(kind, method string, age time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ages = append(m.ages, age)
}

func newDesk(t testing.TB, change ...func(*provider.VendorOptions)) *desk {
	d := &desk{t: t}
	d.now.Store(noon.UnixNano())
	d.bank = &providertest.Upstream{Now: d.clock}
	d.target = &exchange.Target{Tenant: "default", Name: "bank", Provider: "test", Settings: d.bank, Hash: [32]byte{1}}
	o := provider.VendorOptions{
		Deps:  provider.Deps{Now: d.clock, Random: rand.Reader},
		Meter: &d.meter,
		Target: func(tenant, name string) (*exchange.Target, bool) {
			return d.target, tenant == "default" && name == "bank"
		},
	}
	for _, c := range change {
		c(&o)
	}
	d.vendor = provider.NewVendor(o)
	return d
}

func (d *desk) clock() time.Time         { return time.Unix(0, d.now.Load()).UTC() }
func (d *desk) advance(by time.Duration) { d.now.Add(int64(by)) }
func (d *desk) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

func (d *desk) grant(change ...func(*exchange.Grant)) exchange.Grant {
	now := d.clock()
	id, err := exchange.NewID(now, rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	g := exchange.Grant{
		Exchange: id, Tenant: "default", Target: d.target, Subject: exchange.Subject{Name: "k8s:prod:llm:gateway", Tenant: "default"},
		Rule: "r", Revision: exchange.Revision{Hash: "rev"}, Now: now, Lifetime: 15 * time.Minute, NotAfter: now.Add(15 * time.Minute),
	}
	for _, c := range change {
		c(&g)
	}
	return g
}

// exchange goes through a slot as the pipeline does, with an outcome that settles
// or not.
func (d *desk) exchange(g exchange.Grant, settles bool) (exchange.Mode, exchange.Credential, error) {
	d.t.Helper()
	ctx, cancel := d.bounded()
	defer cancel()
	slot, err := d.vendor.Reserve(ctx, g)
	if err != nil {
		return 0, exchange.Credential{}, err
	}
	c, err := slot.Vend(ctx)
	if released := slot.Release(ctx, c, settles && err == nil); err == nil && released != nil {
		err = released
	}
	return slot.Mode(), c, err
}

func (d *desk) must(g exchange.Grant) (exchange.Mode, exchange.Credential) {
	d.t.Helper()
	mode, c, err := d.exchange(g, true)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.bank.Use(c.Value); err != nil {
		d.t.Errorf("vended, and not honoured: %v", err)
	}
	return mode, c
}

func TestFreshAndReused(t *testing.T) {
	d := newDesk(t)
	mode, fresh := d.must(d.grant())
	if mode != exchange.ModeUpstream || !fresh.Minted || fresh.Lease.IsZero() {
		t.Errorf("mode %d, minted %t, lease %s", mode, fresh.Minted, fresh.Lease)
	}
	d.advance(time.Minute)
	mode, again := d.must(d.grant())
	if mode != exchange.ModeHit || again.Minted || again.Lease != fresh.Lease || !again.Value.Equal(fresh.Value) {
		t.Errorf("mode %d, minted %t, same lease %t", mode, again.Minted, again.Lease == fresh.Lease)
	}
	if d.bank.Calls() != 1 {
		t.Errorf("the bank was called %d times", d.bank.Calls())
	}
}

// TestS5HitsAreWithinTheirCaps: what is at hand serves only who may have it for as
// long, and who can still use it.
func TestS5HitsAreWithinTheirCaps(t *testing.T) {
	for name, c := range map[string]struct {
		later    time.Duration
		grant    func(*exchange.Grant)
		target   func(*exchange.Target)
		wantMode exchange.Mode
	}{
		"the same":               {wantMode: exchange.ModeHit},
		"a cap at its expiry":    {wantMode: exchange.ModeHit, grant: func(g *exchange.Grant) { g.NotAfter = noon.Add(15 * time.Minute) }},
		"a cap before it":        {wantMode: exchange.ModeUpstream, grant: func(g *exchange.Grant) { g.NotAfter = noon.Add(15*time.Minute - 1) }},
		"a cap that is outlived": {wantMode: exchange.ModeHit, grant: func(g *exchange.Grant) { g.NotAfter = noon.Add(time.Minute) }, target: func(t *exchange.Target) { t.MayOutlive = true }},
		"four tenths are left":   {wantMode: exchange.ModeHit, later: 9*time.Minute - 1},
		"three tenths are left":  {wantMode: exchange.ModeUpstream, later: 10*time.Minute + 30*time.Second},
		"less than a fifth":      {wantMode: exchange.ModeUpstream, later: 12*time.Minute + 1},
		"less than a minute":     {wantMode: exchange.ModeUpstream, later: 14*time.Minute + 1, grant: func(g *exchange.Grant) { g.Lifetime = time.Minute }},
		"expired":                {wantMode: exchange.ModeUpstream, later: 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if c.target != nil {
				c.target(d.target)
			}
			d.must(d.grant())
			d.advance(c.later)
			g := d.grant()
			if c.grant != nil {
				c.grant(&g)
			}
			if mode, _ := d.must(g); mode != c.wantMode {
				t.Errorf("mode %d, want %d", mode, c.wantMode)
			}
		})
	}
}

// TestS23SubjectsNeverShare, save where the target says so.
func TestS23SubjectsNeverShare(t *testing.T) {
	other := func(g *exchange.Grant) { g.Subject.Name = "k8s:prod:llm:other" }
	d := newDesk(t)
	d.must(d.grant())
	if mode, c := d.must(d.grant(other)); mode == exchange.ModeHit {
		t.Error("another subject got the credential")
	} else if who, _ := d.bank.Use(c.Value); who != "k8s:prod:llm:other" {
		t.Errorf("the credential is %s's", who)
	}
	shared := newDesk(t)
	shared.target.Shared = true
	shared.must(shared.grant())
	if mode, _ := shared.must(shared.grant(other)); mode != exchange.ModeHit {
		t.Error("a shared credential was minted twice")
	}
}

// TestDriversAreHeldToTheirContract: what a driver returns against it is withheld,
// taken back, and internal.
func TestDriversAreHeldToTheirContract(t *testing.T) {
	for name, c := range map[string]struct {
		bend func(*exchange.Credential)
		kind exchange.Kind
	}{
		"no value":        {func(c *exchange.Credential) { c.Value = exchange.Secret{} }, exchange.KindInternal},
		"a huge value":    {func(c *exchange.Credential) { c.Value = exchange.NewSecret(strings.Repeat("x", 65<<10)) }, exchange.KindInternal},
		"no expiry":       {func(c *exchange.Credential) { c.Expires = time.Time{} }, exchange.KindInternal},
		"no token type":   {func(c *exchange.Credential) { c.TokenType = "" }, exchange.KindInternal},
		"no issued type":  {func(c *exchange.Credential) { c.IssuedType = "" }, exchange.KindInternal},
		"a long handle":   {func(c *exchange.Credential) { c.Handle = strings.Repeat("x", 257) }, exchange.KindInternal},
		"a wider scope":   {func(c *exchange.Credential) { c.Scopes = []string{"read", "admin"} }, exchange.KindInternal},
		"expiry reversed": {func(c *exchange.Credential) { c.Expires = c.Issued }, exchange.KindInternal},
		"dead": {func(c *exchange.Credential) {
			c.Issued, c.Expires = noon.Add(-time.Hour), noon.Add(-time.Minute)
		}, exchange.KindUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.bank.After = func(_ context.Context, _ exchange.Grant, credential *exchange.Credential) error {
				c.bend(credential)
				return nil
			}
			_, got, err := d.exchange(d.grant(func(g *exchange.Grant) { g.Scopes = []string{"read"} }), true)
			if exchange.KindOf(err) != c.kind || err == nil || !got.Value.IsZero() {
				t.Errorf("kind %v: %v", exchange.KindOf(err), err)
			}
			if len(d.bank.Live()) != 0 {
				t.Error("what was minted is alive")
			}
		})
	}
}

func TestErrorsAreClassified(t *testing.T) {
	quota := exchange.Fault(exchange.KindThrottled, "slower", errors.New("quota"))
	for name, c := range map[string]struct {
		err    error
		kind   exchange.Kind
		advice string
		says   string
	}{
		"classified": {quota, exchange.KindThrottled, "slower", `target "bank": quota`},
		"wrapped":    {fmt.Errorf("calling the bank: %w", quota), exchange.KindThrottled, "slower", "calling the bank"},
		"unknown":    {errors.New("boom"), exchange.KindInternal, "", "boom"},
		"late":       {fmt.Errorf("post: %w", context.DeadlineExceeded), exchange.KindUnavailable, "the provider did not answer in time; try again", "post"},
	} {
		d := newDesk(t)
		d.bank.Before = func(context.Context, exchange.Grant) error { return c.err }
		_, _, err := d.exchange(d.grant(), true)
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Advice != c.advice || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVendHasADeadline, whatever the caller's is.
func TestVendHasADeadline(t *testing.T) {
	d := newDesk(t, func(o *provider.VendorOptions) { o.Timeout = time.Millisecond })
	d.bank.Before = func(ctx context.Context, _ exchange.Grant) error { <-ctx.Done(); return ctx.Err() }
	slot, err := d.vendor.Reserve(context.Background(), d.grant())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slot.Vend(context.Background()); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("got %v", err)
	}
	if err := slot.Release(context.Background(), exchange.Credential{}, false); err != nil {
		t.Error(err)
	}
}

// TestCacheIsBounded by bytes, and drops what was used longest ago.
func TestCacheIsBounded(t *testing.T) {
	d := newDesk(t, func(o *provider.VendorOptions) { o.CacheBytes = 16 * 1200 }) // about two to a shard
	client := func(n int) func(*exchange.Grant) {
		return func(g *exchange.Grant) { g.Client = fmt.Sprint("c", n) }
	}
	for n := range 200 {
		d.must(d.grant(client(n)))
	}
	kept := 0
	for n := range 200 {
		if slot, err := d.vendor.Reserve(t.Context(), d.grant(client(n))); err != nil {
			t.Fatal(err)
		} else {
			if slot.Mode() == exchange.ModeHit {
				kept++
			}
			if err := slot.Release(t.Context(), exchange.Credential{}, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kept == 0 || kept > 2*16 {
		t.Errorf("%d of 200 are kept", kept)
	}
}

// TestTargetsAreOpenedOncePerVersion of their settings.
func TestTargetsAreOpenedOncePerVersion(t *testing.T) {
	counted := &counting{Upstream: &providertest.Upstream{Now: func() time.Time { return noon }}}
	d := newDesk(t)
	d.target.Settings = counted
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() { d.must2(d.grant(func(g *exchange.Grant) { g.Client = fmt.Sprint(n) })) })
	}
	all.Wait()
	if counted.opened.Load() != 1 {
		t.Errorf("opened %d times", counted.opened.Load())
	}
	changed := *d.target
	changed.Hash = [32]byte{2}
	d.must2(d.grant(func(g *exchange.Grant) { g.Target = &changed }))
	if counted.opened.Load() != 2 {
		t.Errorf("after a change opened %d times", counted.opened.Load())
	}
	counted.fail = errors.New("no key file")
	changed.Hash = [32]byte{3}
	_, _, err := d.exchange(d.grant(func(g *exchange.Grant) { g.Target = &changed }), true)
	if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "no key file") {
		t.Errorf("a target that does not open: %v", err)
	}
	changed.Settings, changed.Hash = "nonsense", [32]byte{4}
	if _, _, err := d.exchange(d.grant(func(g *exchange.Grant) { g.Target = &changed }), true); err == nil {
		t.Error("settings of no provider are opened")
	}
}

func (d *desk) must2(g exchange.Grant) {
	d.t.Helper()
	if _, _, err := d.exchange(g, true); err != nil {
		d.t.Error(err)
	}
}

// counting counts how often it is opened.
type counting struct {
	*providertest.Upstream
	opened atomic.Int64
	fail   error
}

func (c *counting) Open(provider.Deps) (provider.Driver, error) {
	c.opened.Add(1)
	return c.Upstream, c.fail
}

// TestRecover ends what an exchange minted when the answer was lost.
func TestRecover(t *testing.T) {
	d := newDesk(t)
	d.bank.After = func(context.Context, exchange.Grant, *exchange.Credential) error {
		return errors.New("connection reset")
	}
	g := d.grant()
	if _, _, err := d.exchange(g, true); err == nil {
		t.Fatal("no error")
	}
	if live := d.bank.Live(); len(live) != 1 || live[0] != g.Exchange {
		t.Fatalf("the bank has %v", live)
	}
	intent := exchange.Intent{Event: exchange.Event{Exchange: g.Exchange, Tenant: "default", Record: exchange.Record{Target: "bank"}}}
	if err := d.vendor.Recover(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	if len(d.bank.Live()) != 0 {
		t.Error("what was minted is alive")
	}
	intent.Event.Record.Target = "gone"
	if err := d.vendor.Recover(t.Context(), intent); !errors.Is(err, provider.ErrNotRevocable) {
		t.Errorf("a target that is gone: %v", err)
	}
	d.target.Settings, d.target.Hash = forgetful{d.bank}, [32]byte{9}
	intent.Event.Record.Target = "bank"
	if err := d.vendor.Recover(t.Context(), intent); !errors.Is(err, provider.ErrNotRevocable) {
		t.Errorf("a provider that cannot: %v", err)
	}
}

// forgetful is a provider that can only vend.
type forgetful struct{ bank *providertest.Upstream }

func (f forgetful) Open(provider.Deps) (provider.Driver, error) { return vendOnly(f), nil }
func (f forgetful) Facts() exchange.Facts                       { return exchange.Facts{} }
func (f forgetful) Validate() []error                           { return nil }

type vendOnly forgetful

func (v vendOnly) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	return v.bank.Vend(ctx, g)
}

// local is a driver of our own credentials.
type local struct{ *providertest.Upstream }

func (l local) Open(provider.Deps) (provider.Driver, error) { return l, nil }
func (local) Local()                                        {}

// TestLocalIsNeitherCachedNorShared: a credential of our own is made for each.
func TestLocalIsNeitherCachedNorShared(t *testing.T) {
	d := newDesk(t)
	d.target.Settings = local{d.bank}
	var seen []exchange.Credential
	for range 3 {
		mode, c := d.must(d.grant())
		if mode != exchange.ModeLocal || !c.Minted || c.Lease.IsZero() {
			t.Errorf("mode %d, minted %t, lease %s", mode, c.Minted, c.Lease)
		}
		for _, other := range seen {
			if other.Value.Equal(c.Value) || other.Lease == c.Lease {
				t.Error("two exchanges share one")
			}
		}
		seen = append(seen, c)
	}
	if d.bank.Revocations() != 0 {
		t.Error("something was revoked")
	}
}

func TestMeterIsTold(t *testing.T) {
	d := newDesk(t)
	d.must(d.grant())
	d.advance(time.Minute)
	d.must(d.grant())
	if len(d.meter.ages) != 1 || d.meter.ages[0] != time.Minute {
		t.Errorf("the ages served are %v", d.meter.ages)
	}
	if got := fmt.Sprint(d.meter.counts); got != "map[test  vended: true:1 test 0 false:1 test 2 false:1]" {
		t.Errorf("counted %s", got)
	}
}

func BenchmarkReserveHit(b *testing.B) {
	d := newDesk(b)
	d.must(d.grant())
	g := d.grant(func(g *exchange.Grant) {
		g.Subject.Attributes = exchange.Attributes{"namespace": {"llm"}, "pod": {"p"}}
	})
	d.must(g)
	b.ReportAllocs()
	for b.Loop() {
		slot, err := d.vendor.Reserve(context.Background(), g)
		if err != nil || slot.Mode() != exchange.ModeHit {
			b.Fatal(err)
		}
	}
}

// TestSecretsStayOutOfKeys: a key is a hash, so that it may be looked at.
func TestSecretsStayOutOfKeys(t *testing.T) {
	d := newDesk(t)
	g := d.grant(func(g *exchange.Grant) { g.Passthrough.Value = exchange.NewSecret("passthrough") })
	key := provider.KeyOf(&g)
	if len(key) != 32 || bytes.Contains(key[:], []byte("pass")) {
		t.Errorf("the key is %x", key)
	}
}
