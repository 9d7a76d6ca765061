package testproperties

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/server"
)

// token is one that can be brought, as the oracle knows it.
type token struct {
	value          string
	subject, trust string // for whom
	expires        time.Time
	chain          []link // who acted, outermost first
	may            *exchange.MayAct
	bounded        bool
	bound          []string

	own     bool // the rest is of tokens of ours
	target  int
	lease   exchange.ID
	lineage []string // its own last
}

// link is one actor.
type link struct {
	name, trust string
	issuer, id  string
	claim       string // as `act` has it
}

// The agent a0, as it is named, and as its own issuer names it.
const (
	agentName = "k8s:prod:agents:a0"
	agentID   = "system:serviceaccount:agents:a0"
)

// tally counts what sequences came to, so that nobody takes silence for proof.
type tally struct {
	sequences, exchanges, issued, again int
	deepest                             int
	refused                             map[string]int
}

func (y *tally) add(other *tally) {
	y.sequences, y.exchanges = y.sequences+other.sequences, y.exchanges+other.exchanges
	y.issued, y.again, y.deepest = y.issued+other.issued, y.again+other.again, max(y.deepest, other.deepest)
	for kind, n := range other.refused {
		y.refused[kind] += n
	}
}

func (y *tally) String() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(y.refused)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, y.refused[kind]))
	}
	return fmt.Sprintf("%d sequences, %d exchanges, %d issued, %d of them for tokens of ours, %d actors at most; refused: %s",
		y.sequences, y.exchanges, y.issued, y.again, y.deepest, strings.Join(kinds, ", "))
}

// The choices of a sequence. Small numbers are the simple ones, for shrinking.
var (
	upTo    = func(n int) *rapid.Generator[int] { return rapid.IntRange(0, n) }
	some2   = upTo(2)
	some7   = upTo(7)
	some9   = upTo(9)
	some15  = upTo(15)
	some255 = upTo(255)
)

// sequence plays one random sequence in a house.
type sequence struct {
	*world
	t     *rapid.T
	tally *tally
	ours  []*token
}

func (h *house) play(t *rapid.T, y *tally) {
	book := h.books[rapid.IntRange(0, len(h.books)-1).Draw(t, "policy")]
	t.Logf("the policy:\n%s", book.text)
	q := &sequence{world: h.begin(t, book), t: t, tally: y}
	y.sequences++
	for range 2 + some7.Draw(t, "steps") {
		switch op := some15.Draw(t, "step"); {
		case op < 4 || len(q.ours) == 0 && op < 13:
			q.exchange(q.foreign())
		case op < 13:
			// The newest more often: chains grow.
			n := len(q.ours) - 1 - min(some9.Draw(t, "which")/3, len(q.ours)-1)
			q.exchange(q.ours[n])
		case op == 13 && len(q.ours) > 0:
			q.leases[q.ours[some7.Draw(t, "revoked")%len(q.ours)].lease].State = exchange.LeaseRevoked
		case op == 14:
			q.deny()
		default:
			q.pass(t, time.Duration(some9.Draw(t, "minutes"))*time.Minute)
		}
	}
}

// foreign is a fresh token of another issuer.
func (q *sequence) foreign() *token {
	t := q.t
	k := &token{
		value: fmt.Sprintf("signed-%d", len(q.signed)), trust: "corp",
		expires: q.now.Add(time.Duration(1+some15.Draw(t, "lives")) * 4 * time.Minute),
	}
	id := []string{"alice", "bob", "carol"}[some2.Draw(t, "sub")]
	k.subject = exchange.CanonicalName("oidc", "corp", id)
	shape := some255.Draw(t, "token")
	if depth := shape % 32; depth > 22 { // up to one more than there may be
		for n := range depth - 22 {
			name := []string{"helper", "x", "mallory"}[n%3]
			if shape > 240 && n == 0 {
				name = strings.Repeat("long", 520)
			}
			k.chain = append(k.chain, link{
				name: name, issuer: "https://login.example", id: name,
				claim: exchange.CanonicalName("asserted", "corp", "https://login.example", name),
			})
		}
	}
	switch some15.Draw(t, "may_act") {
	case 11, 12:
		k.may = &exchange.MayAct{Issuer: "https://prod.example", ID: agentID}
	case 13:
		k.may = &exchange.MayAct{Issuer: "https://login.example", ID: "mallory"}
	case 14, 15:
		k.bounded, k.bound = true, someScopes[:shape%3]
	}
	trust := q.book.trusts["corp"]
	s := exchange.Subject{
		Name: k.subject, Tenant: "default", Trust: "corp", TrustHash: trust.Hash, Kind: exchange.TrustOIDC, Issuer: trust.Issuer, ID: id,
		Attributes: exchange.Attributes{"sub": {id}}, Expires: k.expires, Clientless: exchange.ClientlessYes, MayAct: k.may,
		Bounded: k.bounded, Bound: k.bound,
	}
	for _, a := range k.chain {
		s.Asserted = append(s.Asserted, exchange.Actor{Name: a.name, Issuer: a.issuer, ID: a.id, AssertedBy: "corp"})
	}
	q.signed[k.value] = s
	return k
}

// agent is a fresh token of one who could act, now and then through another.
func (q *sequence) agent() *token {
	n := some7.Draw(q.t, "agent")
	return q.agentOf(n%2, n == 7)
}

func (q *sequence) agentOf(n int, delegated bool) *token {
	account := fmt.Sprintf("a%d", n)
	k := &token{
		value: fmt.Sprintf("signed-%d", len(q.signed)), trust: "prod", subject: exchange.CanonicalName("k8s", "prod", "agents", account),
		expires: q.now.Add(time.Duration(1+some15.Draw(q.t, "agent lives")) * 4 * time.Minute),
	}
	trust := q.book.trusts["prod"]
	s := exchange.Subject{
		Name: k.subject, Tenant: "default", Trust: "prod", TrustHash: trust.Hash, Kind: exchange.TrustKubernetes, Issuer: trust.Issuer,
		ID: "system:serviceaccount:agents:" + account, Expires: k.expires, Clientless: exchange.ClientlessYes,
		Attributes: exchange.Attributes{"namespace": {"agents"}, "service_account": {account}},
	}
	if delegated {
		k.chain = []link{{name: "x"}}
		s.Asserted = []exchange.Actor{{Name: "x", AssertedBy: "prod"}}
	}
	q.signed[k.value] = s
	return k
}

func (q *sequence) deny() {
	d := exchange.Deny{ID: exchange.ID{byte(len(q.denies.Denies) + 1)}, Tenant: "default", Match: map[string]string{}, Reason: "tests"}
	n := some15.Draw(q.t, "denied")
	switch n % 4 {
	case 0:
		d.Match["subject"] = []string{"oidc:corp:bob", "oidc:corp:carol"}[n/8]
	case 1:
		d.Match["actor"] = []string{"mallory", "client:c0", "client:c1", "k8s:prod:agents:a0"}[n/4]
	case 2:
		d.Match["target"] = fmt.Sprintf("t%d", n%targets)
	case 3:
		if len(q.ours) == 0 {
			return
		}
		d.Match["lineage"] = q.ours[n%len(q.ours)].lease.String()
	}
	if _, err := q.AddDeny(context.Background(), d, exchange.Event{}); err != nil {
		q.t.Fatal(err)
	}
}

// stopped reports whether an emergency deny is about this, as the oracle reads it.
func (q *sequence) stopped(of *token, actor *link, target int) bool {
	return slices.ContainsFunc(q.denies.Denies, func(d exchange.Deny) bool {
		name := d.Match["actor"]
		return d.Match["subject"] == of.subject || d.Match["target"] == fmt.Sprintf("t%d", target) ||
			slices.Contains(of.lineage, d.Match["lineage"]) ||
			actor != nil && actor.name == name || slices.ContainsFunc(of.chain, func(a link) bool { return a.name == name })
	})
}

// fallen reports whether a token of ours stands no more.
func (q *sequence) fallen(k *token) bool {
	return slices.ContainsFunc(k.lineage, func(id string) bool {
		parsed, err := exchange.ParseID(id)
		return err != nil || q.leases[parsed].State != exchange.LeaseActive
	})
}

// exchange brings a token with whatever else, and judges what comes of it.
func (q *sequence) exchange(k *token) {
	t := q.t
	shape := some255.Draw(t, "request")
	target := some2.Draw(t, "target")
	r := exchange.Request{
		Door: "oauth", Grant: exchange.GrantTokenExchange, Resources: []string{q.book.targets[target].resource},
		SubjectToken: exchange.Token{Value: exchange.NewSecret(k.value), Type: exchange.TokenTypeAccessToken},
		Lifetime:     time.Duration(shape%8/6) * time.Duration(shape%40+1) * time.Minute,
	}
	if shape&8 != 0 {
		for n, s := range append(someScopes, "other") {
			if shape>>(4+n)&1 == 1 {
				r.Scopes = append(r.Scopes, s)
			}
		}
	}
	presented := q.present(k, &r)
	var agent *token
	switch odd := some15.Draw(t, "besides"); {
	case odd >= 14: // the wrong label
		r.SubjectToken.Type = exchange.TokenTypeIDToken
	case odd >= 12 && len(q.ours) > 0: // one of ours as somebody's actor
		agent = q.ours[len(q.ours)-1]
	case odd >= 6 && !k.own || odd == 11:
		agent = q.agent()
	}
	if agent != nil {
		r.ActorToken = exchange.Token{Value: exchange.NewSecret(agent.value), Type: exchange.TokenTypeJWT}
	}
	receipt, err := q.bureau.Exchange(context.Background(), r)
	q.tally.exchanges++
	if err != nil {
		q.refused(receipt, err)
		return
	}
	q.tally.issued++
	q.judge(k, agent, presented, target, &r, receipt)
}

// present has a client bring the token, mostly the right one, or nobody; clients:
// nobody does.
func (q *sequence) present(k *token, r *exchange.Request) int {
	n := some9.Draw(q.t, "client")
	if n >= clients { // the server, where there is one
		n = clients
		for c := range clients {
			if k.own && q.book.serves[c]>>k.target&1 == 1 {
				n = c
			}
		}
	}
	if n == clients {
		return n
	}
	prove := func() (client.Proven, error) {
		if n == agentClient {
			return q.desk.Assertion(context.Background(), clientName(n), exchange.NewSecret(q.agentOf(0, false).value), q.now)
		}
		return q.desk.Secret(context.Background(), clientName(n), exchange.NewSecret(clientSecret(n)), q.now)
	}
	proven, err := prove()
	if err == nil {
		err = server.UseClient(&proven, r)
	}
	if err != nil {
		q.t.Fatal(err)
	}
	return n
}

// refused: nothing leaves, and every refusal is one that somebody meant.
func (q *sequence) refused(receipt exchange.Receipt, err error) {
	var e *exchange.Error
	if !errors.As(err, &e) || !receipt.Credential.Value.IsZero() {
		q.t.Fatalf("a credential came with an error, or no known error: %v", err)
	}
	q.tally.refused[e.Kind.String()]++
	if e.Kind == exchange.KindInvalidActor && q.records[e.Exchange].Outcome == exchange.EventFailed.String() {
		q.t.Fatalf("a chain went as far as the provider: %v", err)
	}
	switch e.Kind {
	case exchange.KindInvalidSubject, exchange.KindInvalidActor, exchange.KindInvalidClient, exchange.KindInvalidTarget,
		exchange.KindInvalidScope, exchange.KindInvalidLifetime:
	default:
		q.t.Fatalf("nobody meant this: %v", err)
	}
}

// payload is what a token of ours says.
type payload struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience any      `json:"aud"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope"`
	Act      *act     `json:"act"`
	MayAct   *claimed `json:"may_act"`
}

type act struct {
	claimed
	Act *act `json:"act"`
}

type claimed struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// judge holds what was issued against what was brought: this is the property.
func (q *sequence) judge(k, agent *token, presented, target int, r *exchange.Request, receipt exchange.Receipt) {
	t, b := q.t, q.book
	raw := receipt.Credential.Value.Reveal()
	_, middle, _ := strings.Cut(raw, ".")
	middle, _, _ = strings.Cut(middle, ".")
	text, err := base64.RawURLEncoding.DecodeString(middle)
	if err != nil {
		t.Fatal(err)
	}
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	wrong := func(format string, args ...any) {
		t.Fatalf("%s\nissued %s\nfor %+v\nactor %+v\nclient %d, asked %v at t%d", fmt.Sprintf(format, args...), text, *k, agent, presented, r.Scopes, target)
	}

	// Who acts now.
	var actor *link
	switch {
	case k.own:
		if presented == clients || b.serves[presented]>>k.target&1 == 0 {
			wrong("a token of ours was exchanged by a client that is not its server")
		}
		if agent != nil || r.SubjectToken.Type == exchange.TokenTypeIDToken {
			wrong("a token of ours was exchanged beside an actor's, or as an ID token")
		}
		if q.fallen(k) {
			wrong("it was revoked, or what it descends from")
		}
		name := clientName(presented)
		actor = &link{name: "client:" + name, issuer: ownIssuer, id: name, claim: "client:" + name}
		if presented == agentClient {
			a := q.book.trusts["prod"]
			actor = &link{name: agentName, trust: "prod", issuer: a.Issuer, id: agentID, claim: agentName}
		}
	case agent != nil:
		if agent.own || len(agent.chain) > 0 {
			wrong("an actor token of ours, or one that is itself delegated")
		}
		s := q.signed[agent.value]
		actor = &link{name: agent.subject, trust: "prod", issuer: s.Issuer, id: s.ID, claim: agent.subject}
	}

	// Nobody is shed, nobody is added, nobody is moved.
	chain := slices.Clone(k.chain)
	if actor != nil {
		chain = append([]link{*actor}, chain...)
	}
	size, at := 0, p.Act
	for _, want := range chain {
		if at == nil || at.Subject != want.claim || at.Issuer != ownIssuer {
			wrong("the chain is not %q", chain)
		}
		at, size = at.Act, size+len(want.name)+len(want.issuer)
	}
	if at != nil || len(chain) > exchange.MaxActors || size > exchange.MaxActorsBytes {
		wrong("the chain is longer than %d: %q", len(chain), chain)
	}
	if (p.MayAct == nil) != (k.may == nil) || k.may != nil && (*p.MayAct != claimed{k.may.Issuer, k.may.ID}) {
		wrong("may_act was %+v", k.may)
	}
	if k.may != nil && (actor == nil || k.may.Issuer != actor.issuer || k.may.ID != actor.id) {
		wrong("may_act names another: %+v", k.may)
	}

	// Nothing widens.
	if p.Subject != k.subject || p.Issuer != ownIssuer || p.Audience != any(b.targets[target].resource) {
		wrong("sub, iss or aud")
	}
	scopes := strings.Fields(p.Scope)
	for _, s := range scopes {
		if !slices.Contains(b.targets[target].scopes, s) && len(b.targets[target].scopes) > 0 || len(r.Scopes) > 0 && !slices.Contains(r.Scopes, s) || k.bounded && !slices.Contains(k.bound, s) {
			wrong("the scope %s is new", s)
		}
	}
	expires := time.Unix(p.Expires, 0)
	if expires.After(k.expires) || agent != nil && expires.After(agent.expires) || !k.expires.After(q.now) ||
		r.Lifetime > 0 && expires.After(q.now.Add(r.Lifetime)) {
		wrong("it outlives what it came of: %v, now %v", k.expires, q.now)
	}
	if !b.permits(k, actor, target, scopes, expires.Sub(q.now).Minutes()) || q.stopped(k, actor, target) {
		wrong("no rule allows that, or a deny forbids it: %v", q.denies.Denies)
	}

	// The books say so.
	record := q.records[receipt.Exchange]
	lease := q.leases[receipt.Credential.Lease]
	if record.Outcome != "issued" || lease == nil || lease.ID.String() != p.ID || !slices.Equal(record.Lineage, k.lineage) ||
		len(lease.Lineage) != len(k.lineage) || len(record.Actors)+len(record.Asserted) != len(chain) {
		wrong("the ledger says %+v, the lease %+v", record, lease)
	}
	next := &token{
		value: raw, subject: k.subject, trust: k.trust, expires: expires, chain: chain, may: k.may,
		bounded: true, bound: scopes, own: true, target: target, lease: lease.ID, lineage: append(slices.Clone(k.lineage), p.ID),
	}
	q.ours = append(q.ours, next)
	q.tally.deepest = max(q.tally.deepest, len(chain))
	if k.own {
		q.tally.again++
	}
}
