package policy

import (
	"fmt"
	"maps"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// Describe makes a subject from its canonical name (k8s:<trust>:<namespace>:<service
// account>, oidc:<trust>:<sub>, spiffe:<trust>:<id>, session:<trust>:<sub>) and further attributes, as if
// a token had been verified. It proves nothing and is for Explain and tests only.
func Describe(r *Revision, name string, attributes map[string][]string) (exchange.Subject, error) {
	prefix, parts, err := splitName(name)
	if err != nil {
		return exchange.Subject{}, err
	}
	if prefix == "client" && len(parts) == 1 {
		if s, ok := r.describeClient(parts[0]); ok {
			return s, nil
		}
		return exchange.Subject{}, fmt.Errorf("there is no client %q that could be a subject: %s", parts[0], didYouMean(parts[0], keys(r.clients)))
	}
	var trust *exchange.Trust
	for i := range r.trusts {
		if r.trusts[i].Name == parts[0] {
			trust = &r.trusts[i]
		}
	}
	if trust == nil {
		return exchange.Subject{}, fmt.Errorf("there is no trust %q: %s", parts[0], didYouMean(parts[0], keys(r.trustHash)))
	}
	s := exchange.Subject{
		Tenant: r.tenant, Trust: trust.Name, TrustHash: trust.Hash, Kind: trust.Kind, Issuer: trust.Issuer,
		Attributes: exchange.Attributes{}, Audience: trust.Audiences,
	}
	if trust.Clientless {
		s.Clientless = exchange.ClientlessYes
	}
	want := map[exchange.TrustKind]string{exchange.TrustKubernetes: "k8s", exchange.TrustOIDC: "oidc", exchange.TrustSPIFFE: "spiffe", exchange.TrustSession: "session"}[trust.Kind]
	if prefix != want {
		return exchange.Subject{}, fmt.Errorf("trust %q is of kind %s: its subjects begin %s:%s, then a colon", trust.Name, trust.Kind, want, trust.Name)
	}
	switch {
	case prefix == "k8s" && len(parts) == 3:
		s.ID = "system:serviceaccount:" + parts[1] + ":" + parts[2]
		s.Attributes["namespace"], s.Attributes["service_account"] = parts[1:2], parts[2:3]
	case prefix == "spiffe" && len(parts) == 2:
		s.ID = parts[1]
		domain, path, ok := strings.Cut(strings.TrimPrefix(s.ID, "spiffe://"), "/")
		if !ok || domain != trust.TrustDomain || !strings.HasPrefix(s.ID, "spiffe://") {
			return exchange.Subject{}, fmt.Errorf("a subject of trust %q has an id such as spiffe://%s/path", trust.Name, trust.TrustDomain)
		}
		s.Attributes["id"], s.Attributes["path"], s.Attributes["trust_domain"] = []string{s.ID}, []string{"/" + path}, []string{domain}
	case (prefix == "oidc" || prefix == "session") && len(parts) == 2:
		s.ID = parts[1]
	default:
		return exchange.Subject{}, fmt.Errorf("a subject is named k8s:<trust>:<namespace>:<service account>, oidc:<trust>:<sub>, spiffe:<trust>:<id> or session:<trust>:<sub>, with %% and : escaped as %%25 and %%3A inside a part")
	}
	if r.yields[trust.Name]["sub"] {
		s.Attributes["sub"] = []string{s.ID}
	}
	s.Name = exchange.CanonicalName(prefix, parts...)
	for a := range attributes {
		if !r.yields[trust.Name][a] {
			return exchange.Subject{}, fmt.Errorf("a subject of trust %q has no attribute %q: %s", trust.Name, a, didYouMean(a, keys(r.yields[trust.Name])))
		}
	}
	maps.Copy(s.Attributes, attributes)
	return s, nil
}

// DescribeActing makes a question one in which a described actor acts. One that is a
// client itself acts by presenting a token of ours, so the request is that client's.
// Like Describe it proves nothing.
func DescribeActing(r *Revision, q *exchange.Question, name string, attributes map[string][]string) error {
	a, err := DescribeActor(r, name, attributes)
	switch {
	case err != nil:
		return err
	case a.Trust == "" && q.Client == "":
		if err := DescribeClient(r, q, a.ID); err != nil {
			return err
		}
	case a.Trust == "" && q.Client != a.ID:
		return fmt.Errorf("the actor is the client %q itself: the request can be of no other", a.ID)
	}
	q.Actors = []exchange.Actor{a}
	return nil
}

// DescribeAsserted gives a described subject the actors that its issuer asserts,
// outermost first.
func DescribeAsserted(s *exchange.Subject, names []string) {
	for _, name := range names {
		s.Asserted = append(s.Asserted, exchange.Actor{Name: name, AssertedBy: s.Trust})
	}
}

// DescribeActor is Describe for an actor proven in the request.
func DescribeActor(r *Revision, name string, attributes map[string][]string) (exchange.Actor, error) {
	s, err := Describe(r, name, attributes)
	if err != nil {
		return exchange.Actor{}, err
	}
	return exchange.Actor{
		Name: s.Name, Trust: s.Trust, Attributes: s.Attributes, Issuer: s.Issuer, ID: s.ID, Proven: true, TrustHash: s.TrustHash,
	}, nil
}

// splitName undoes exchange.CanonicalName, and takes the SPIFFE ID also as it is
// usually written, with its colon.
func splitName(name string) (prefix string, parts []string, err error) {
	prefix, rest, _ := strings.Cut(name, ":")
	if prefix == "spiffe" {
		trust, id, ok := strings.Cut(rest, ":")
		if ok && strings.HasPrefix(id, "spiffe://") {
			return prefix, []string{trust, id}, nil
		}
	}
	for _, p := range strings.Split(rest, ":") {
		plain, err := unescape(p)
		if err != nil {
			return "", nil, fmt.Errorf("the subject %q: %w", name, err)
		}
		parts = append(parts, plain)
	}
	return prefix, parts, nil
}

// unescape undoes percent-encoding, of any byte.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		var v byte
		if i+2 >= len(s) {
			return "", fmt.Errorf("a %% is followed by two hexadecimal digits: write %%25 for the sign itself")
		}
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &v); err != nil {
			return "", fmt.Errorf("a %% is followed by two hexadecimal digits: write %%25 for the sign itself")
		}
		b.WriteByte(v)
		i += 2
	}
	return b.String(), nil
}
