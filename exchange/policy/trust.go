package policy

import (
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

const nameBytes = "abcdefghijklmnopqrstuvwxyz0123456789._-"

// kindAttributes are the attributes that a subject of each kind of trust has
// without any claims mapping. A token may lack some: an unbound service-account
// token names no pod.
var kindAttributes = map[exchange.TrustKind][]string{
	exchange.TrustKubernetes: {"sub", "namespace", "service_account", "uid", "pod", "pod_uid", "node"},
	exchange.TrustOIDC:       {"sub", "groups", "email", "azp"},
	exchange.TrustSPIFFE:     {"id", "path", "trust_domain"},
	exchange.TrustSession:    {"sub", "cookie"},
}

// cloudAudiences are what clouds take as `aud` of a federated token, in lower case.
// A token that is good there is never good here (S8).
var cloudAudiences = []pattern{
	{glob: "sts.amazonaws.com*"}, {glob: "https://sts.amazonaws.com*"}, {glob: "sts.*.amazonaws.com*"},
	{glob: "https://signin.aws.amazon.com/*"}, {glob: "pods.eks.amazonaws.com"}, {glob: "api://azureadtokenexchange*"},
	{glob: "//iam.googleapis.com/*"}, {glob: "https://*.googleapis.com*"}, {glob: "https://*.identity.oraclecloud.com*"},
	{glob: "https://iam*.cloud.ibm.com*"}, {glob: "https://api.anthropic.com*"}, {glob: "https://*.openai.com*"},
}

func (c *compiler) compileTrusts() {
	c.trustAt = map[string]named{}
	c.presenters = map[string][]attributesFile{}
	c.revision.trustHash = map[string][32]byte{}
	c.revision.yields = map[string]map[string]bool{}
	for _, t := range c.trusts {
		c.trustAt[t.key] = t
		if !validName(t.key, nameBytes) {
			t.fault(t.at, "a trust's name has 1 to 64 of a-z 0-9 . _ -")
		}
		if t.key == exchange.SelfTrust { // what it asserts is taken for proven here (S15)
			t.fault(t.at, "%q is the built-in trust of tokens of ours: give this one another name", t.key)
		}
		c.checkTrustSecrets(t)
		c.compileTrust(t)
	}
	c.compilePresenters()
	slices.SortFunc(c.revision.trusts, func(a, b exchange.Trust) int { return strings.Compare(a.Name, b.Name) })
	if c.CheckTrusts != nil && len(c.sound) > 0 {
		for _, err := range c.CheckTrusts(c.sound) {
			c.faults = append(c.faults, c.trustFault(err))
		}
	}
}

// trustFault places what the verifier found, `trust "name": field.path: …`, at the
// field, or at the trust where that is not written.
func (c *compiler) trustFault(err error) Fault {
	text := err.Error()
	best := -1
	var at named
	for name, t := range c.trustAt {
		if i := strings.Index(text, `"`+name+`"`); i >= 0 && (best < 0 || i < best) {
			best, at = i, t
		}
	}
	if best < 0 {
		return Fault{Message: text}
	}
	where := at.at
	if _, rest, ok := strings.Cut(text, `"`+at.key+`": `); ok {
		field, _, _ := strings.Cut(rest, ":")
		for _, kind := range []string{"kubernetes", "oidc", "spiffe", "session"} {
			if body := find(at.value, kind); body != at.value {
				if n := find(body, strings.Split(field, ".")...); n != body {
					where = n
				}
			}
		}
	}
	return at.src.fault(where, "%s", text)
}

func (c *compiler) compileTrust(t named) {
	before := len(c.faults)
	var f trustFile
	t.into(t.value, &f)
	trust := exchange.Trust{Tenant: c.Tenant, Name: t.key}
	kinds := 0
	var common *commonFile
	body := t.value
	if k := f.Kubernetes; k != nil {
		kinds++
		trust.Kind, trust.Issuer, common = exchange.TrustKubernetes, k.Issuer, &k.commonFile
		body = find(t.value, "kubernetes")
		trust.Review = c.review(t, k.Review, find(body, "review"))
	}
	if o := f.OIDC; o != nil {
		kinds++
		trust.Kind, trust.Issuer, common = exchange.TrustOIDC, o.Issuer, &o.commonFile
		trust.IDJAG = o.IDJAG
		body = find(t.value, "oidc")
	}
	if s := f.SPIFFE; s != nil {
		kinds++
		trust.Kind, trust.TrustDomain, common = exchange.TrustSPIFFE, s.TrustDomain, &s.commonFile
		body = find(t.value, "spiffe")
	}
	if s := f.Session; s != nil {
		kinds++
		trust.Kind, trust.Issuer, common = exchange.TrustSession, s.Issuer, s.common()
		body = find(t.value, "session")
		trust.Session = c.session(t, s)
	}
	if kinds != 1 {
		if len(c.faults) == before {
			t.fault(t.at, "trust %q is of one kind: {kubernetes: …}, {oidc: …}, {spiffe: …} or {session: …}", t.key)
		}
		return
	}
	trust.Audiences, trust.Algorithms, trust.Types = common.Audiences, common.Algorithms, common.Types
	trust.Leeway, trust.MaxAge, trust.SingleUse = common.Leeway, common.MaxAge, common.SingleUse
	trust.Clientless, trust.ClientlessAZP = common.Clientless.yes, common.Clientless.azp
	trust.Claims, trust.Record = common.Claims, common.Record
	trust.Keys = exchange.KeySource{URL: common.Keys.URL, File: c.path(common.Keys.File), CAFile: c.path(common.CAFile), Stale: common.Stale}
	if len(c.faults) == before { // else what seems missing may be what was misspelt
		c.checkTrust(t, body, trust)
	}
	trust.Hash = hashOf(trust)
	c.revision.trusts = append(c.revision.trusts, trust)
	c.revision.trustHash[trust.Name] = trust.Hash
	yields := map[string]bool{}
	for _, a := range kindAttributes[trust.Kind] {
		yields[a] = true
	}
	for a := range trust.Claims {
		yields[a] = true
	}
	c.revision.yields[trust.Name] = yields
	for _, a := range trust.Record {
		if !yields[a] {
			t.fault(find(body, "record"), "trust %q has no attribute %q to record: %s", trust.Name, a, didYouMean(a, keys(yields)))
		}
	}
	if len(c.faults) == before {
		c.sound = append(c.sound, trust)
	}
}

func (c *compiler) review(t named, f *reviewFile, at ast.Node) *exchange.Review {
	if f == nil {
		return nil
	}
	r := &exchange.Review{Mode: exchange.ReviewMode(f.Mode), Server: f.Server, CAFile: c.path(f.CAFile), TokenFile: c.path(f.TokenFile), TTL: f.TTL}
	switch r.Mode {
	case "":
		r.Mode = exchange.ReviewCached
	case exchange.ReviewNever, exchange.ReviewCached, exchange.ReviewAlways:
	default:
		t.fault(find(at, "mode"), "mode is never, cached or always")
	}
	if f.Server != "" && !fetchable(f.Server) {
		t.fault(find(at, "server"), "server is the API server's https URL")
	}
	return r
}

// checkTrust finds what is wrong in a trust by itself.
func (c *compiler) checkTrust(t named, body ast.Node, trust exchange.Trust) {
	keysGiven := trust.Keys.URL != "" || trust.Keys.File != ""
	switch {
	case trust.Kind == exchange.TrustSPIFFE:
		if trust.TrustDomain == "" || strings.ContainsAny(trust.TrustDomain, ":/ ") {
			t.fault(find(body, "trust_domain"), "trust_domain is wanted, without spiffe://, such as prod.example")
		}
		if !keysGiven {
			t.fault(body, "say where the bundle or the JWK Set is: keys: {url: …} or {file: …}")
		}
	case trust.Kind == exchange.TrustSession:
		c.checkSession(t, body, trust)
	case trust.Issuer == "":
		t.fault(body, "issuer is wanted: the exact iss of the tokens")
	}
	if trust.Issuer != "" && !keysGiven && !fetchable(trust.Issuer) {
		t.fault(find(body, "issuer"), "keys are found by discovery only at an https issuer: give keys: {url: …} or {file: …}, or the https issuer")
	}
	if trust.Keys.URL != "" && trust.Keys.File != "" {
		t.fault(find(body, "keys"), "keys come from url or from file, not from both")
	}
	if trust.Keys.URL != "" && !fetchable(trust.Keys.URL) {
		t.fault(find(body, "keys", "url"), "url is an https URL")
	}
	if len(trust.Audiences) == 0 && (trust.Kind != exchange.TrustSession || trust.Issuer != "") {
		t.fault(find(body, "audiences"), "audiences is wanted: what the tokens' aud must hold, such as [cambio]")
	}
	for _, a := range trust.Audiences {
		if a == "" {
			t.fault(find(body, "audiences"), "an audience is not empty")
		}
		if anyMatch(cloudAudiences, strings.ToLower(a)) {
			t.fault(find(body, "audiences"), "audience %q is a cloud's own: tokens that are good there are not taken here; have them issued for an audience of ours", a)
		}
	}
	if len(trust.ClientlessAZP) > 0 && trust.Kind != exchange.TrustOIDC {
		t.fault(find(body, "clientless"), "only tokens of people have authorized parties: write clientless: true")
	}
	for name := range trust.Claims {
		if name == "trust" || name == "subject" || !validName(name, "abcdefghijklmnopqrstuvwxyz0123456789_") {
			t.fault(find(body, "claims", name), "attribute %q cannot be mapped: its name has a-z 0-9 _ and is neither trust nor subject", name)
		}
	}
}

// fetchable reports whether a URL is one that keys may come from: https, or http
// to this very machine.
func fetchable(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && exchange.LoopbackHost(u.Hostname())
}

func (c *compiler) path(name string) string {
	if name == "" || filepath.IsAbs(name) || c.Dir == "" {
		return name
	}
	return filepath.Join(c.Dir, name)
}

// hashOf is the SHA-256 of a value's canonical JSON: members in a fixed order, map
// keys sorted.
func hashOf(v any) [32]byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("policy: a value of plain data has no JSON: " + err.Error())
	}
	return sha256.Sum256(text)
}

func keys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}
