package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// The pipeline is tested against stand-ins that check what they are told: a ledger
// that keeps the constraints of the real one, a bank that mints only for an intent
// that is durable, and a policy whose denies raise an epoch.

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Every one of these is a secret: none may be in a record, an error or a report.
const (
	subjectToken = "subject-token-5e1c"
	actorToken   = "actor-token-77aa"
	revokeSecret = "revoke-with-90bd"
	mintedPrefix = "minted-credential-"
)

// house is a bureau with its stand-ins.
type house struct {
	t        testing.TB
	bureau   *exchange.Bureau
	verifier *verifier
	policy   *policy
	governor *governor
	ledger   *ledger
	vendor   *vendor
	reports  *reports
}

func newHouse(t testing.TB, mode exchange.Mode) *house {
	t.Helper()
	key := bytes.Repeat([]byte{7}, exchange.SealKeySize)
	sealer, err := exchange.NewSealer(rand.Reader, key)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t}
	h.ledger = &ledger{t: t, sealer: sealer, used: map[exchange.Once]exchange.ID{}}
	h.policy = &policy{ledger: h.ledger, lifetime: 15 * time.Minute, scopes: []string{"read"}}
	h.governor = &governor{}
	h.vendor = &vendor{t: t, mode: mode, ledger: h.ledger, life: 10 * time.Minute}
	h.verifier = &verifier{subjects: map[string]exchange.Subject{
		subjectToken: {
			Name: "k8s:prod:llm:gateway", Tenant: "default", Trust: "prod", Issuer: "https://prod", ID: "gateway",
			Expires: noon.Add(time.Hour), Clientless: exchange.ClientlessYes, JTI: "j1",
		},
		actorToken: {
			Name: "k8s:prod:agents:helper", Tenant: "default", Trust: "prod", Issuer: "https://prod", ID: "helper",
			Expires: noon.Add(time.Hour), Clientless: exchange.ClientlessYes,
		},
	}}
	h.reports = &reports{}
	h.bureau = &exchange.Bureau{
		Policy: h.policy, Verifier: h.verifier, Governor: h.governor, Vendor: h.vendor, Ledger: h.ledger,
		Observer: h.reports, Sealer: sealer, Now: func() time.Time { return noon }, Random: rand.Reader,
	}
	return h
}

func request() exchange.Request {
	return exchange.Request{
		Door: "oauth", Grant: "urn:ietf:params:oauth:grant-type:token-exchange",
		SubjectToken: exchange.Token{Value: exchange.NewSecret(subjectToken)},
		Audiences:    []string{"bank"}, Scopes: []string{"read"}, Reason: "tests",
		ClientIP: netip.MustParseAddr("192.0.2.1"), UserAgent: "go-test", TraceID: "t1",
	}
}

func withActor(r exchange.Request) exchange.Request {
	r.ActorToken = exchange.Token{Value: exchange.NewSecret(actorToken)}
	return r
}

// exchange runs one and checks what holds whatever happens.
func (h *house) exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
	h.t.Helper()
	receipt, err := h.bureau.Exchange(ctx, r)
	h.check(receipt, err)
	return receipt, err
}

func (h *house) check(receipt exchange.Receipt, err error) {
	h.t.Helper()
	report := h.reports.last()
	outcome, settled := h.ledger.outcome(report.Exchange)
	if err == nil {
		// No credential leaves before its event is durable.
		switch {
		case !settled || outcome.Type != exchange.EventIssued:
			h.t.Errorf("a credential left and the ledger says %v", outcome.Type)
		case outcome.Record.Credential != h.bureau.Sealer.Fingerprint(receipt.Credential.Value):
			h.t.Error("the ledger names another credential than the one that left")
		case receipt.Exchange != outcome.Exchange:
			h.t.Error("the receipt names another exchange")
		}
	} else {
		if !receipt.Credential.Value.IsZero() {
			h.t.Error("a credential came with an error")
		}
		var e *exchange.Error
		if !errors.As(err, &e) {
			h.t.Errorf("the error is not an *Error: %v", err)
		} else if e.Exchange.IsZero() {
			h.t.Errorf("the error names no exchange: %v", err)
		}
		h.noSecret("the error", fmt.Sprintf("%v %+v", err, err))
	}
	h.noSecret("the report", fmt.Sprintf("%+v", report))
	h.vendor.check(report.Exchange, err == nil)
	h.ledger.check()
}

func (h *house) noSecret(what, text string) {
	h.t.Helper()
	noSecret(h.t, what, text)
}

func noSecret(t testing.TB, what, text string) {
	t.Helper()
	for _, s := range []string{subjectToken, actorToken, ownToken, revokeSecret, mintedPrefix} {
		if strings.Contains(text, s) {
			t.Errorf("%s holds a secret: %s", what, text)
		}
	}
}

// verifier knows some tokens.
type verifier struct {
	subjects map[string]exchange.Subject
	fail     error
}

func (v *verifier) Verify(_ context.Context, token exchange.Token, _ time.Time) (exchange.Subject, error) {
	if v.fail != nil {
		return exchange.Subject{}, v.fail
	}
	s, ok := v.subjects[token.Value.Reveal()]
	if !ok {
		return exchange.Subject{}, exchange.Fault(exchange.KindInvalidSubject, "the token is not known", nil)
	}
	return s, nil
}

// policy allows unless it is told to deny. Its copy of the epoch is refreshed only
// when asked, as a replica's is.
type policy struct {
	ledger   *ledger
	lifetime time.Duration
	scopes   []string
	outlive  bool
	refusing bool                           // decided so from the start
	onEpoch  func(epoch int64, p *policy)   // what the denies of an epoch say
	decide   func(q exchange.Question) bool // a rule besides
	epoch    int64
	denied   bool
	refresh  error
	behind   error
	asked    []exchange.Question
	hash     byte
	returns  bool              // the target's tokens are ours and may come back
	serves   map[string]string // client → the resource it is the server of

	presenters map[string]bool // by name, of the sessions of the trust shop
}

func (p *policy) Serves(client, resource string) bool {
	return resource != "" && p.serves[client] == resource
}

func (p *policy) Current() (exchange.Decider, error) { return p, p.behind }

func (p *policy) Refresh(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("a refresh without a deadline")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.refresh != nil {
		return p.refresh
	}
	p.epoch = p.ledger.currentEpoch()
	if p.onEpoch != nil {
		p.onEpoch(p.epoch, p)
	}
	return nil
}

func (p *policy) Decide(q exchange.Question) exchange.Decision {
	p.asked = append(p.asked, q)
	d := exchange.Decision{
		Rule: "r1", Revision: exchange.Revision{Hash: "rev1", Seq: 1}, Epoch: p.epoch, Scopes: p.scopes, Lifetime: p.lifetime,
		Target: &exchange.Target{
			Tenant: "default", Name: "bank", Provider: "test", Hash: [32]byte{p.hash}, Returns: p.returns,
			Facts: exchange.Facts{MayOutlive: p.outlive, Own: p.returns},
		},
	}
	if q.Lifetime > 0 {
		d.Lifetime = min(d.Lifetime, q.Lifetime)
	}
	d.Allowed = !p.refusing && !p.denied && (p.decide == nil || p.decide(q))
	if !d.Allowed {
		d.Refusal, d.Advice, d.Explanation = exchange.KindInvalidTarget, "no such target, or not for you", "denied by emergency"
	}
	return d
}

// governor has a budget for each kind of answer.
type governor struct {
	over, overDenials bool
	admitted          int
	released          int
}

func (g *governor) Admit(_ context.Context, _ exchange.Question, d exchange.Decision) (func(error), error) {
	if d.Allowed && g.over || !d.Allowed && g.overDenials {
		return nil, &exchange.Error{Kind: exchange.KindThrottled, Advice: "slower", RetryAfter: time.Second}
	}
	g.admitted++
	return func(error) { g.released++ }, nil
}

// reports keeps what the observer was told.
type reports struct{ all []exchange.Report }

func (r *reports) Observe(_ context.Context, report exchange.Report) { r.all = append(r.all, report) }
func (r *reports) last() exchange.Report                             { return r.all[len(r.all)-1] }

// ledger is a ledger in memory, with the constraints of the real one.
type ledger struct {
	t      testing.TB
	sealer *exchange.Sealer

	mu     sync.Mutex
	epoch  int64
	events []exchange.Event
	leases []exchange.Lease
	used   map[exchange.Once]exchange.ID
	// revoked are leases that nothing may rely on; fells, if any, says so of others.
	revoked map[exchange.ID]bool
	fells   func(lease exchange.ID) bool

	// before and after, if any, run around a write that is at hand; an error from
	// before means that it is not persisted, one from after that it is and the
	// answer is lost.
	before, after func(ctx context.Context, e exchange.Event) error
}

func (l *ledger) Intend(ctx context.Context, i exchange.Intent) error {
	if i.Event.Type != exchange.EventIntent {
		l.t.Errorf("an intent of type %v", i.Event.Type)
	}
	if !i.Deadline.After(i.Event.At) {
		l.t.Error("an intent whose deadline is not after it")
	}
	l.relies(i.Event, i.Relies)
	return l.write(ctx, i.Event, i.Epoch, true, i.Once, nil, i.Relies)
}

func (l *ledger) Settle(ctx context.Context, o exchange.Outcome) error {
	if !o.Event.Type.Terminal() {
		l.t.Errorf("an outcome of type %v", o.Event.Type)
	}
	l.relies(o.Event, o.Relies)
	return l.write(ctx, o.Event, o.Epoch, o.Event.Type == exchange.EventIssued, o.Once, o.Lease, o.Relies)
}

// relies checks that an event relies on all that it says it descends from, and on the
// lease of what was at hand; and that what hands nothing out relies on nothing.
func (l *ledger) relies(e exchange.Event, on []exchange.ID) {
	var want []string
	if e.Type == exchange.EventIntent || e.Type == exchange.EventIssued {
		want = slices.Clone(e.Record.Lineage)
	}
	if e.Record.Reused {
		want = append(want, e.Record.Lease)
	}
	var got []string
	for _, lease := range on {
		got = append(got, lease.String())
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("the %s relies on %v, want %v", e.Type, got, want)
	}
}

func (l *ledger) Note(context.Context, exchange.Event) error { return nil }

func (l *ledger) write(ctx context.Context, e exchange.Event, epoch int64, bound bool, once *exchange.Once, lease *exchange.Lease, relies []exchange.ID) error {
	if _, limited := ctx.Deadline(); !limited {
		l.t.Error("a write without a deadline")
	}
	if l.before != nil {
		if err := l.before(ctx, e); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.append(e, epoch, bound, once, lease, relies); err != nil {
		return err
	}
	if l.after != nil {
		return l.after(ctx, e)
	}
	return nil
}

func (l *ledger) append(e exchange.Event, epoch int64, bound bool, once *exchange.Once, lease *exchange.Lease, relies []exchange.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bound && epoch != l.epoch {
		return exchange.ErrStale
	}
	for _, old := range l.events {
		if old.Exchange == e.Exchange && (old.Type == e.Type || old.Type.Terminal() && e.Type.Terminal()) {
			return exchange.ErrSettled
		}
	}
	for _, id := range relies {
		if l.revoked[id] || l.fells != nil && l.fells(id) {
			return &exchange.FallenError{Lease: id}
		}
	}
	if once != nil {
		if by, burnt := l.used[*once]; burnt && by != e.Exchange {
			return exchange.ErrUsed
		}
		l.used[*once] = e.Exchange
	}
	l.events = append(l.events, e)
	if lease != nil {
		l.leases = append(l.leases, *lease)
	}
	return nil
}

// deny raises the epoch, as an emergency deny does.
func (l *ledger) deny() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
}

func (l *ledger) currentEpoch() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *ledger) outcome(id exchange.ID) (exchange.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Exchange == id && e.Type.Terminal() {
			return e, true
		}
	}
	return exchange.Event{}, false
}

func (l *ledger) intended(id exchange.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Exchange == id && e.Type == exchange.EventIntent {
			return true
		}
	}
	return false
}

// check looks for secrets, and for records that do not say what happened.
func (l *ledger) check() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		b, err := json.Marshal(e.Record)
		if err != nil {
			l.t.Error(err)
		}
		noSecret(l.t, "an event", string(b))
		if e.Record.Exchange != e.Exchange.String() || e.Record.Type != e.Type.String() || e.Record.Subject == "" {
			l.t.Errorf("the record does not say what its event does: %s", b)
		}
	}
	for _, lease := range l.leases {
		if bytes.Contains(lease.Sealed, []byte(revokeSecret)) {
			l.t.Error("a lease keeps its secret in clear")
		}
	}
}

// vendor is a bank with one counter. In ModeUpstream it mints only after the intent
// is durable.
type vendor struct {
	t      testing.TB
	mode   exchange.Mode // of what is at hand; what replaces that is minted upstream
	ledger *ledger
	life   time.Duration
	spare  bool // upstream gives what was at hand
	// endless: there is always another one at hand.
	endless bool

	reserve   error
	vend      func(ctx context.Context) error // fails instead of minting
	afterMint func()                          // once it is minted
	revoke    error                           // revocation fails

	grants []exchange.Grant
	slots  []*slot
}

type slot struct {
	vendor   *vendor
	mode     exchange.Mode
	value    exchange.Secret
	grant    exchange.Grant
	minted   bool
	revoked  bool
	released int
	settled  bool
}

func (v *vendor) Reserve(_ context.Context, g exchange.Grant) (exchange.Slot, error) {
	v.grants = append(v.grants, g)
	if v.reserve != nil {
		return nil, v.reserve
	}
	s := &slot{vendor: v, grant: g, mode: v.mode}
	for _, before := range v.slots {
		if g.Stopped != nil && g.Stopped(before.value) && !v.endless {
			s.mode = exchange.ModeUpstream
		}
	}
	v.slots = append(v.slots, s)
	return s, nil
}

func (s *slot) Mode() exchange.Mode { return s.mode }

func (s *slot) Vend(ctx context.Context) (exchange.Credential, error) {
	v := s.vendor
	if s.mode == exchange.ModeUpstream {
		if !v.ledger.intended(s.grant.Exchange) {
			v.t.Error("minted outside without a durable intent")
		}
		if _, bounded := ctx.Deadline(); !bounded {
			v.t.Error("minted without a deadline")
		}
	}
	if v.vend != nil {
		if err := v.vend(ctx); err != nil {
			return exchange.Credential{}, err
		}
	}
	s.minted = true
	if v.afterMint != nil {
		v.afterMint()
	}
	id, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		return exchange.Credential{}, err
	}
	s.value = exchange.NewSecret(mintedPrefix + id.String())
	return exchange.Credential{
		Value: s.value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: noon, Expires: noon.Add(v.life), Scopes: s.grant.Scopes, Handle: "h1",
		RevokeWith: exchange.NewSecret(revokeSecret), Lease: id, Minted: s.mode != exchange.ModeHit && !v.spare,
	}, nil
}

func (s *slot) Release(ctx context.Context, _ exchange.Credential, settled bool) error {
	if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
		s.vendor.t.Error("released without time to do so")
	}
	s.released++
	s.settled = settled
	if settled || !s.minted || s.mode != exchange.ModeUpstream {
		return nil
	}
	if s.vendor.revoke != nil {
		return s.vendor.revoke
	}
	s.revoked = true
	return nil
}

// check: each slot is released once, the last one of an exchange as settled only if
// its credential left, those before it as not settled, and what was minted outside and did not leave is revoked.
func (v *vendor) check(id exchange.ID, left bool) {
	v.t.Helper()
	for i, s := range v.slots {
		if s.released != 1 {
			v.t.Errorf("a slot was released %d times", s.released)
		}
		last := i == len(v.slots)-1 || v.slots[i+1].grant.Exchange != id
		if s.grant.Exchange == id && s.settled != (left && last) {
			v.t.Errorf("a slot was released as settled: %t; it is the last: %t; a credential left: %t", s.settled, last, left)
		}
		if s.mode == exchange.ModeUpstream && s.minted && !s.settled && !s.revoked && v.revoke == nil {
			v.t.Error("a withheld credential was not revoked")
		}
	}
}

// once is a value that burns.
func once(value string) *exchange.Once {
	return &exchange.Once{Realm: "jti:prod", Hash: sha256.Sum256([]byte(value)), Expires: noon.Add(time.Hour)}
}

var modes = map[string]exchange.Mode{
	"hit": exchange.ModeHit, "local": exchange.ModeLocal, "upstream": exchange.ModeUpstream,
}
