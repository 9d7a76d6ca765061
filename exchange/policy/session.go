package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// sessionFile is a trust in an application's session cookies (S37).
type sessionFile struct {
	CookieNames []string          `yaml:"cookie_names" jsonschema:"description=Names of the cookies that are taken; no other is read."`
	Presenters  []attributesFile  `yaml:"presenters" jsonschema:"description=Workloads and registered clients that may present sessions: one of these."`
	Introspect  *introspectFile   `yaml:"introspect,omitempty" jsonschema:"description=Ask the application whether a session stands."`
	Issuer      string            `yaml:"issuer,omitempty" jsonschema:"description=The exact iss of cookies that are a JWT."`
	Audiences   []string          `yaml:"audiences,omitempty" jsonschema:"description=One of these must be in the JWT's aud."`
	Algorithms  []string          `yaml:"algorithms,omitempty" jsonschema:"description=JOSE algorithms; default RS256 ES256 PS256 EdDSA."`
	Types       []string          `yaml:"types,omitempty" jsonschema:"description=Accepted typ headers; default: none\\, JWT and at+jwt."`
	Leeway      time.Duration     `yaml:"leeway,omitempty" jsonschema:"description=On nbf and iat; default 30s. exp has none."`
	MaxAge      time.Duration     `yaml:"max_age,omitempty" jsonschema:"description=Greatest age of the JWT since its iat; default unbounded."`
	Keys        keysFile          `yaml:"keys,omitempty" jsonschema:"description=Where the verification keys are; default: by OpenID Connect discovery."`
	CAFile      string            `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots for fetching keys; default: the system's."`
	Stale       time.Duration     `yaml:"stale,omitempty" jsonschema:"description=How long keys serve while the issuer is down; default 1h."`
	Claims      map[string]string `yaml:"claims,omitempty" jsonschema:"description=Attribute to JSON path (RFC 9535) into the claims\\, or into the application's answer."`
	Record      []string          `yaml:"record,omitempty" jsonschema:"description=Attributes that the ledger keeps besides the subject and the cookie's name."`
}

type introspectFile struct {
	URL          string        `yaml:"url" jsonschema:"description=https URL of the application's answer about a session."`
	Method       string        `yaml:"method,omitempty" jsonschema:"enum=POST,enum=GET,description=POST sends a form as of RFC 7662; GET the cookie. Default POST."`
	ClientID     string        `yaml:"client_id,omitempty" jsonschema:"description=Ours at the application\\, by HTTP Basic; POST only."`
	ClientSecret string        `yaml:"client_secret,omitempty" jsonschema:"description=${secret:NAME} of cambio.yaml."`
	CAFile       string        `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots; default: the system's."`
	Active       string        `yaml:"active,omitempty" jsonschema:"description=JSON path to true or false; default $.active with POST\\, the status with GET."`
	Subject      string        `yaml:"subject,omitempty" jsonschema:"description=JSON path to whose session it is; default $.sub."`
	Expires      string        `yaml:"expires,omitempty" jsonschema:"description=JSON path to when it ends; default $.exp."`
	Cache        time.Duration `yaml:"cache,omitempty" jsonschema:"description=How long an answer is good; default 0s: each exchange asks."`
	Lifetime     time.Duration `yaml:"lifetime,omitempty" jsonschema:"description=What a session that does not say when it ends has left; default 5m."`
	PerSecond    int           `yaml:"per_second,omitempty" jsonschema:"description=Questions to the application; default 50."`
}

// What introspect means by saying nothing.
const (
	defaultSessionLifetime = 5 * time.Minute
	defaultPerSecond       = 50
)

// common is the part that other kinds of trust have, too.
func (s *sessionFile) common() *commonFile {
	return &commonFile{
		Audiences: s.Audiences, Algorithms: s.Algorithms, Types: s.Types, Leeway: s.Leeway, MaxAge: s.MaxAge,
		Claims: s.Claims, Record: s.Record, Keys: s.Keys, CAFile: s.CAFile, Stale: s.Stale,
	}
}

// session is what a session trust says besides. Who may present is compiled later,
// when all trusts are known.
func (c *compiler) session(t named, f *sessionFile) *exchange.SessionTrust {
	c.presenters[t.key] = f.Presenters
	s := &exchange.SessionTrust{Cookies: f.CookieNames}
	for _, one := range f.Presenters {
		who := map[string][]string{}
		for _, a := range one.attributes {
			for _, p := range a.patterns {
				who[a.name] = append(who[a.name], string(p.glob))
			}
		}
		s.Presenters = append(s.Presenters, who)
	}
	i := f.Introspect
	if i == nil {
		return s
	}
	s.Introspect = &exchange.Introspection{
		URL: i.URL, Method: cmp.Or(i.Method, "POST"), CAFile: c.path(i.CAFile), ClientID: i.ClientID, ClientSecret: i.ClientSecret,
		Active: i.Active, Subject: cmp.Or(i.Subject, "$.sub"), Expires: cmp.Or(i.Expires, "$.exp"),
		Cache: i.Cache, Lifetime: cmp.Or(i.Lifetime, defaultSessionLifetime), PerSecond: cmp.Or(i.PerSecond, defaultPerSecond),
	}
	if i.Active == "" && s.Introspect.Method == "POST" {
		s.Introspect.Active = "$.active"
	}
	return s
}

// checkSession finds what a session trust lacks, where it is written; the verifier
// finds the rest.
func (c *compiler) checkSession(t named, body ast.Node, trust exchange.Trust) {
	s := trust.Session
	if len(s.Cookies) == 0 {
		t.fault(find(body, "cookie_names"), "cookie_names is wanted: the cookies that are taken, such as [sid]")
	}
	if len(s.Presenters) == 0 {
		t.fault(find(body, "presenters"), `presenters is wanted: who may present sessions, such as [{trust: …, namespace: …}] or [{subject: "client:…"}]`)
	}
	if trust.Issuer == "" && s.Introspect == nil {
		t.fault(body, "say how sessions are verified: introspect: {url: …}, or issuer where the cookie is a JWT")
	}
	if i := s.Introspect; i != nil {
		at := find(body, "introspect")
		if !fetchable(i.URL) {
			t.fault(find(at, "url"), "url is the https URL at which the application answers for a session")
		}
		if _, ok := SecretName(i.ClientSecret); i.ClientSecret != "" && !ok {
			t.fault(find(at, "client_secret"), "a secret does not stand in a policy: write ${secret:NAME}, of cambio.yaml")
		}
	}
}

// checkTrustSecrets lets one setting of a trust name a secret (S20).
func (c *compiler) checkTrustSecrets(t named) {
	var may ast.Node
	if at := find(t.value, "session"); at != t.value {
		if i := find(at, "introspect"); i != at {
			if s := find(i, "client_secret"); s != i {
				may = s
				t.checkSecrets(s, c.SecretNames, true)
			}
		}
	}
	t.checkNoSecrets(t.value, may)
}

// checkNoSecrets finds every ${…} below n, save in one node.
func (d *decoder) checkNoSecrets(n, but ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			d.checkNoSecrets(v, but)
		}
	case *ast.MappingValueNode:
		d.checkSecrets(n.Key, nil, false)
		if n.Value != but {
			d.checkNoSecrets(n.Value, but)
		}
	default:
		d.checkSecrets(n, nil, false)
	}
}

// compilePresenters compiles who may present sessions, like the actors of a rule.
func (c *compiler) compilePresenters() {
	c.revision.presenters = map[string][]clause{}
	for _, t := range c.trusts {
		if files := c.presenters[t.key]; len(files) > 0 {
			for _, f := range files {
				c.checkPresenter(t, f)
			}
			c.revision.presenters[t.key] = c.clauses(listed{node: t.value, decoder: t.decoder}, files)
		}
	}
}

// checkPresenter finds who could never present a session: another session, and a
// client that nobody registered.
func (c *compiler) checkPresenter(t named, f attributesFile) {
	c.checkNoSession(t.decoder, f, "a session presents nothing: name workloads or clients")
	for _, a := range f.attributes {
		for _, p := range a.patterns {
			name, client := strings.CutPrefix(string(p.glob), "client:")
			if a.name == "subject" && client && p.literal() && !slices.ContainsFunc(c.clients, func(n named) bool { return n.key == name }) {
				var names []string
				for _, n := range c.clients {
					names = append(names, n.key)
				}
				t.fault(p.at, "there is no client %q: %s", name, didYouMean(name, names))
			}
		}
	}
}

// checkNoSession finds trusts of sessions where none can be.
func (c *compiler) checkNoSession(d *decoder, f attributesFile, why string) {
	for _, a := range f.attributes {
		for _, p := range a.patterns {
			if _, session := c.presenters[string(p.glob)]; a.name == "trust" && session {
				d.fault(p.at, "trust %q is one of sessions: %s", string(p.glob), why)
			}
		}
	}
}

// presented reports whether a session is brought by somebody on its trust's list; what
// is no session is. The pipeline asks before it looks at the session, and this holds
// for every decision after, and for those that are only explained.
func (r *Revision) presented(q *exchange.Question) bool {
	if q.Subject.Kind != exchange.TrustSession || q.Subject.Own != nil {
		return true
	}
	who := provenActor(q)
	return who != nil && r.Presents(q.Subject.Trust, *who)
}

// Presents implements exchange.Presenters.
func (r *Revision) Presents(trust string, who exchange.Actor) bool {
	return who.Proven && slices.ContainsFunc(r.presenters[trust], func(cl clause) bool {
		return cl.match(actorIdentity(&who), nil) == nil
	})
}
