package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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

// once is a value that burns.
func once(value string) *exchange.Once {
	return &exchange.Once{Realm: "jti:prod", Hash: sha256.Sum256([]byte(value)), Expires: noon.Add(time.Hour)}
}

var modes = map[string]exchange.Mode{
	"hit": exchange.ModeHit, "local": exchange.ModeLocal, "upstream": exchange.ModeUpstream,
}
