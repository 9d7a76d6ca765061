package signing_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
)

// cellar is a store in memory, with the leases and the ledger beside it.
type cellar struct {
	mu       sync.Mutex
	now      time.Time
	sessions map[exchange.ID]exchange.Session
	leases   map[exchange.ID]exchange.Lease
	fallen   map[exchange.ID]bool
	signed   []exchange.SignRequest
	events   []exchange.Event
	down     error
	noNote   error
}

func (c *cellar) HoldSession(_ context.Context, s exchange.Session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[s.ID] = s
	return c.down
}

func (c *cellar) Session(_ context.Context, tenant string, id exchange.ID) (exchange.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	switch {
	case c.down != nil:
		return exchange.Session{}, c.down
	case !ok || s.Tenant != tenant || !s.Expires.After(c.now):
		return exchange.Session{}, exchange.Fault(exchange.KindNotFound, "none", nil)
	}
	return s, nil
}

func (c *cellar) ReplaceSession(_ context.Context, s exchange.Session, old []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.sessions[s.ID]
	if c.down != nil || !ok || held.Tenant != s.Tenant || !bytes.Equal(held.Sealed, old) || !held.Expires.After(c.now) {
		return false, c.down
	}
	c.sessions[s.ID] = s
	return true, nil
}

func (c *cellar) EndSession(_ context.Context, _ string, id exchange.ID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, id)
	return nil
}

func (c *cellar) PruneSessions(_ context.Context, limit int) (pruned int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.sessions {
		if !s.Expires.After(c.now) && pruned < limit {
			delete(c.sessions, id)
			pruned++
		}
	}
	return pruned, nil
}

func (c *cellar) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *cellar) standing(_ context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.leases[id]
	if !ok || l.Tenant != tenant || c.fallen[id] {
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "fallen", nil)
	}
	return l, nil
}

func (c *cellar) sign(_ context.Context, tenant, target string, snapshot exchange.Secret, r exchange.SignRequest) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tenant != "default" || target != "oci-genai" || snapshot.Reveal() != "what signs" {
		return nil, errors.New("another session's")
	}
	if r.Method == "TRACE" {
		return nil, exchange.Fault(exchange.KindPermissionDenied, "not that", nil)
	}
	c.signed = append(c.signed, r)
	return map[string]string{"authorization": "Signature"}, nil
}

func (c *cellar) note(_ context.Context, e exchange.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noNote != nil {
		return c.noNote
	}
	c.events = append(c.events, e)
	return nil
}

const (
	subject = "k8s:prod:llm:gateway"
	actor   = "k8s:prod:agents:helper"
)

type office struct {
	*cellar
	desk  *signing.Desk
	id    exchange.ID
	token exchange.Secret
	met   map[string]int
}

func newOffice(t *testing.T, changes ...func(*office, *signing.Options)) *office {
	t.Helper()
	now := time.Now()
	o := &office{
		cellar: &cellar{now: now, sessions: map[exchange.ID]exchange.Session{}, leases: map[exchange.ID]exchange.Lease{}, fallen: map[exchange.ID]bool{}},
		token:  exchange.NewSecret("session-token"), met: map[string]int{},
	}
	options := signing.Options{
		Store: o.cellar, Standing: o.standing, Sign: o.sign, Note: o.note, Sealer: sealerOf(t, 1), Now: o.clock, Random: rand.Reader,
		Signed: func(target string, kind exchange.Kind, ok bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.met[fmt.Sprint(target, " ", kind, " ", ok)]++
		},
	}
	for _, change := range changes {
		change(o, &options)
	}
	o.desk = signing.New(options)
	o.id = o.hold(t, subject)
	return o
}

func sealerOf(t *testing.T, keys ...byte) *exchange.Sealer {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, bytes.Repeat([]byte{k}, exchange.SealKeySize))
	}
	s, err := exchange.NewSealer(rand.Reader, all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (o *office) hold(t *testing.T, of string) exchange.ID {
	t.Helper()
	id, err := exchange.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := exchange.Session{ID: id, Tenant: "default", Exchange: id, Target: "oci-genai", Subject: of, Expires: o.now.Add(time.Hour)}
	if err := o.desk.Hold(t.Context(), s, o.token, exchange.NewSecret("what signs")); err != nil {
		t.Fatal(err)
	}
	o.leases[id] = exchange.Lease{ID: id, Tenant: "default", Exchange: id, Target: "oci-genai", Provider: "oci", Subject: of, Actor: actor, Issued: o.now}
	return id
}

func (o *office) ask(t *testing.T, changes ...func(*signing.Ask)) (signing.Signature, error) {
	t.Helper()
	a := signing.Ask{
		Session: o.id, Token: o.token, Caller: exchange.Subject{Name: subject, Tenant: "default"},
		Request: exchange.SignRequest{Method: "GET", Host: "objectstorage.example", Path: "/n/"},
	}
	for _, change := range changes {
		change(&a)
	}
	return o.desk.Sign(t.Context(), a)
}

// TestS25WhoMaySign: the session's token and the caller's own proof, both; and
// whoever lacks one learns nothing of the session.
func TestS25WhoMaySign(t *testing.T) {
	o := newOffice(t)
	if s, err := o.ask(t); err != nil || s.Headers["authorization"] == "" || !s.Expires.Equal(o.sessions[o.id].Expires) ||
		s.Expires.Sub(s.Renew) != 12*time.Minute {
		t.Fatalf("the subject: %v", err)
	}
	if _, err := o.ask(t, func(a *signing.Ask) { a.Caller.Name = actor }); err != nil {
		t.Errorf("the actor: %v", err)
	}
	other := o.hold(t, "k8s:prod:llm:other")
	answers := map[string]bool{}
	for name, change := range map[string]func(*signing.Ask){
		"another token":   func(a *signing.Ask) { a.Token = exchange.NewSecret("session-tokem") },
		"no token":        func(a *signing.Ask) { a.Token = exchange.Secret{} },
		"another caller":  func(a *signing.Ask) { a.Caller.Name = "k8s:prod:llm:other" },
		"no caller":       func(a *signing.Ask) { a.Caller = exchange.Subject{Tenant: "default"} },
		"another tenant":  func(a *signing.Ask) { a.Caller.Tenant = "north" },
		"another session": func(a *signing.Ask) { a.Session = other },
		"no session":      func(a *signing.Ask) { a.Session = exchange.ID{} },
	} {
		_, err := o.ask(t, change)
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != exchange.KindNotFound {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answers[e.Advice] = true
	}
	if len(answers) != 1 {
		t.Errorf("the answers tell sessions apart: %v", answers)
	}
	if len(o.signed) != 2 || o.met["oci-genai internal true"] != 2 {
		t.Errorf("%d signatures, counted as %v", len(o.signed), o.met)
	}
	if _, err := o.ask(t, func(a *signing.Ask) { a.Request.Method = "TRACE" }); exchange.KindOf(err) != exchange.KindPermissionDenied {
		t.Errorf("what the driver refuses: %v", err)
	}
}

// TestS25EndsWithItsLease: revoked, denied, expired or ended, it signs nothing, at
// once; and a database that does not answer is no yes.
func TestS25EndsWithItsLease(t *testing.T) {
	for name, end := range map[string]func(*office){
		"revoked or denied": func(o *office) { o.fallen[o.id] = true },
		"without a lease":   func(o *office) { delete(o.leases, o.id) },
		"expired":           func(o *office) { o.cellar.now = o.cellar.now.Add(2 * time.Hour) },
		"ended":             func(o *office) { _ = o.desk.End(context.Background(), "default", o.id) },
		"another's lease":   func(o *office) { l := o.leases[o.id]; l.Subject = "x"; o.leases[o.id] = l },
	} {
		o := newOffice(t)
		end(o)
		if _, err := o.ask(t); exchange.KindOf(err) != exchange.KindNotFound || len(o.signed) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := newOffice(t)
	o.down = errors.New("no database")
	if _, err := o.ask(t); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("without a database: %v", err)
	}
}

// TestS25OneSealedSnapshot: the row shows nothing, and no two rows can be mixed (S4).
func TestS25OneSealedSnapshot(t *testing.T) {
	o := newOffice(t)
	mine, theirs := o.sessions[o.id], o.sessions[o.hold(t, "k8s:prod:llm:other")]
	text, err := json.Marshal(mine)
	if err != nil || bytes.Contains(mine.Sealed, []byte("what signs")) || strings.Contains(string(text), "session-token") {
		t.Error("the row shows a secret")
	}
	mine.Sealed = theirs.Sealed
	o.sessions[o.id] = mine
	if _, err := o.ask(t); exchange.KindOf(err) != exchange.KindInternal || len(o.signed) > 0 {
		t.Errorf("with another's snapshot: %v", err)
	}
}

// TestS25SignaturesAreCounted: one event for each session that signed, with how
// often; what could not be written is not lost.
func TestS25SignaturesAreCounted(t *testing.T) {
	o := newOffice(t)
	other := o.hold(t, subject)
	for n := range 5 {
		if _, err := o.ask(t, func(a *signing.Ask) {
			if n == 0 {
				a.Session = other
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	o.noNote = errors.New("no ledger")
	tick, ended := make(chan time.Time), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { o.desk.Run(ctx, tick); close(ended) }()
	tick <- o.now
	dead := exchange.Session{ID: exchange.ID{1}, Expires: o.now.Add(-time.Hour)}
	o.mu.Lock()
	o.sessions[dead.ID] = dead
	o.mu.Unlock()
	tick <- o.now // the one before is over
	if _, err := o.ask(t); err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	o.noNote = nil
	o.mu.Unlock()
	cancel() // at its end it writes what is left
	<-ended
	told := map[exchange.ID]string{}
	for _, e := range o.events {
		if e.Type != exchange.EventSigned || e.Record.Type != "signed" || e.Record.Subject != subject || e.Record.Lease != e.Exchange.String() {
			t.Errorf("event %+v", e.Record)
		}
		told[e.Exchange] += e.Record.Explanation
	}
	if len(o.events) != 2 || !strings.HasPrefix(told[o.id], "5 signatures from ") || !strings.HasPrefix(told[other], "1 signatures from ") {
		t.Errorf("told %v", told)
	}
	if _, there := o.sessions[dead.ID]; there || len(o.sessions) != 2 {
		t.Error("an expired session is kept, or a live one is not")
	}
}
