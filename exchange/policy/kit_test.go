package policy_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// shelf is a Providers of two kinds: paper, which knows scopes and a resource, and
// stone, which has a floor and a ceiling of lifetimes.
type shelf struct{}

type paper struct {
	Resource string   `yaml:"resource"`
	Scopes   []string `yaml:"scopes,omitempty"`
	Format   string   `yaml:"format,omitempty"`
	Secret   string   `yaml:"secret,omitempty"`
	Foreign  bool     `yaml:"foreign,omitempty"` // its credentials are not ours
	Behind   string   `yaml:"behind,omitempty"`  // the authorization server that they are for
	Nested   struct {
		Depth int  `yaml:"depth"`
		Loud  bool `yaml:"loud"`
	} `yaml:"nested,omitempty"`
}

type stone struct {
	Place      string        `yaml:"place"`
	Floor      time.Duration `yaml:"floor"`
	Ceiling    time.Duration `yaml:"ceiling"`
	MayOutlive bool          `yaml:"may_outlive"`
}

func (shelf) Kinds() []string { return []string{"stone", "paper"} }

func (shelf) New(kind string) (any, bool) {
	switch kind {
	case "paper":
		return new(paper), true
	case "stone":
		return new(stone), true
	}
	return nil, false
}

func (shelf) Inspect(settings any) (exchange.Facts, []error) {
	switch s := settings.(type) {
	case *paper:
		var faults []error
		if s.Resource == "" {
			faults = append(faults, errors.New("resource: name the resource"))
		}
		if s.Nested.Depth < 0 {
			faults = append(faults, errors.New("nested.depth: it is not negative"))
		}
		return exchange.Facts{Resource: s.Resource, Authority: s.Behind, Scopes: s.Scopes, Own: !s.Foreign, MaxTTL: time.Hour, Types: []exchange.TokenType{exchange.TokenTypeAccessToken}}, faults
	case *stone:
		return exchange.Facts{MinTTL: s.Floor, MaxTTL: s.Ceiling, MayOutlive: s.MayOutlive, Types: []exchange.TokenType{"urn:stone"}}, nil
	}
	return exchange.Facts{}, []error{fmt.Errorf("settings of type %T", settings)}
}

// files is a folder: name, text, name, text, ….
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func load(t testing.TB, pairs ...string) *policy.Revision {
	t.Helper()
	r, err := policy.Load(files(pairs...), policy.Options{Providers: shelf{}, SecretNames: []string{"legacy"}})
	if err != nil {
		t.Fatalf("loading the policy:\n%v", err)
	}
	return r
}

// loadFaults are the faults of a policy that must have some.
func loadFaults(t testing.TB, pairs ...string) policy.Faults {
	t.Helper()
	_, err := policy.Load(files(pairs...), policy.Options{Providers: shelf{}, SecretNames: []string{"legacy"}})
	var faults policy.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("want faults, got %v", err)
	}
	return faults
}

// house is a policy with a trust of each kind and a target of each kind.
const house = `
clients: {desk: {secret: {sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}}, till: {trust: {trust: prod, namespace: shop, service_account: till}}} # of a house
trusts:
  prod: {kubernetes: {issuer: "https://oidc.prod.example", audiences: [cambio], clientless: true}}
  corp: {oidc: {issuer: "https://login.example", audiences: [cambio], clientless: {azp: [cli]}, claims: {groups: $.realm_access.roles, team: $.team}}}
  mesh: {spiffe: {trust_domain: mesh.example, audiences: [cambio], keys: {file: /etc/bundle.json}}}
targets:
  github: {paper: {resource: "https://mcp.example/github", scopes: [read, call, admin]}}
  wiki:   {paper: {resource: "https://mcp.example/wiki", scopes: [read]}}
  rock:   {stone: {place: north, floor: 15m, ceiling: 1h}}
  sand:   {stone: {place: south}}
`

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// ask is a question of a described subject for an audience.
func ask(t testing.TB, r *policy.Revision, subject, target string, change ...func(*exchange.Question)) exchange.Question {
	t.Helper()
	s, err := policy.Describe(r, subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := exchange.Question{Tenant: "default", Subject: s, Audiences: []string{target}, ClientIP: netip.MustParseAddr("10.1.2.3"), Now: noon}
	for _, c := range change {
		c(&q)
	}
	return q
}

func with(name string, values ...string) func(*exchange.Question) {
	return func(q *exchange.Question) { q.Subject.Attributes[name] = values }
}

func by(t testing.TB, r *policy.Revision, actor string) func(*exchange.Question) {
	t.Helper()
	a, err := policy.DescribeActor(r, actor, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(q *exchange.Question) { q.Actors = append(q.Actors, a) }
}

func asserting(name string) func(*exchange.Question) {
	return func(q *exchange.Question) {
		q.Subject.Asserted = []exchange.Actor{{Name: name, AssertedBy: q.Subject.Trust}}
	}
}

func scopes(s ...string) func(*exchange.Question) {
	return func(q *exchange.Question) { q.Scopes = s }
}

func lasting(d time.Duration) func(*exchange.Question) {
	return func(q *exchange.Question) { q.Lifetime = d }
}

func through(t testing.TB, r *policy.Revision, client string) func(*exchange.Question) {
	return func(q *exchange.Question) {
		t.Helper()
		if err := policy.DescribeClient(r, q, client); err != nil {
			t.Fatal(err)
		}
	}
}

// prove gives everyone in a question the proof that this revision wants: of their
// trust, or of the client that they are.
func prove(t testing.TB, r *policy.Revision, q *exchange.Question) {
	t.Helper()
	hash := func(trust, id string, proven bool) [32]byte {
		for _, known := range r.Trusts() {
			if known.Name == trust {
				return known.Hash
			}
		}
		c, ok := r.Client(id)
		if !ok {
			t.Fatalf("nobody proves %q of trust %q", id, trust)
		}
		if proven {
			q.Client, q.ClientHash = c.Name, c.Hash
		}
		return c.Hash
	}
	for i := range q.Actors {
		q.Actors[i].TrustHash = hash(q.Actors[i].Trust, q.Actors[i].ID, true)
	}
	for i := range q.Subject.Asserted {
		if a := &q.Subject.Asserted[i]; a.AssertedBy == exchange.SelfTrust {
			a.TrustHash = hash(a.Trust, a.ID, false)
		}
	}
}

const (
	gateway = "k8s:prod:llm:gateway"
	agent   = "k8s:prod:agents:coder"
	alice   = "oidc:corp:alice"
)
