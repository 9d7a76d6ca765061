package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

const unixPrefix = "unix:"

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	prefixForm = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	regionForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	methodForm = regexp.MustCompile(`^[A-Z]{1,16}$`)
)

// faults gathers what is wrong, each with the path of its key.
type faults struct {
	at   string
	list *[]error
}

func (f faults) add(key, format string, args ...any) {
	*f.list = append(*f.list, fmt.Errorf("%s%s: %s", f.at, key, fmt.Sprintf(format, args...)))
}

func (f faults) below(format string, args ...any) faults {
	return faults{f.at + fmt.Sprintf(format, args...), f.list}
}

// Check finds everything that is wrong with the settings. targets are the names there
// are.
func (s *Settings) Check(targets []string) []error {
	var list []error
	f := faults{"", &list}
	if len(s.Routes) == 0 {
		if s.Listen != "" {
			f.add("routes", "there is none: add one, such as {provider: openai, target: NAME}")
		}
		return list
	}
	s.checkListener(f)
	if s.Callers != nil {
		s.checkCallers(f, *s.Callers)
	}
	filled := make([]Route, len(s.Routes))
	for i, given := range s.Routes {
		filled[i] = given.filled()
	}
	others := slices.ContainsFunc(filled, func(r Route) bool { return s.callersOf(r).others() })
	names, places := map[string]bool{}, map[string]bool{}
	for i, r := range filled {
		at := f.below("routes[%d].", i)
		r.check(at, targets)
		if r.Callers != nil {
			s.checkCallers(at, *r.Callers)
			if r.Gateway != nil && r.Callers.Secret {
				at.add("callers", "a gateway's callers bring their own token where the secret would be: leave it out")
			}
		}
		if others && r.Gateway == nil && s.callersOf(r).Any {
			at.add("callers", "the socket is open to every user of the machine, since another route lists some by uid: list them here too")
		}
		if names[r.Name] {
			at.add("name", "another route is called %q: give this one a name", r.Name)
		}
		where := "host " + strings.ToLower(r.Host)
		if r.Host == "" {
			where = "prefix " + strings.TrimRight(r.Prefix, "/")
		}
		if places[where] {
			at.add("prefix", "another route is at the same place: give this one a prefix")
		}
		names[r.Name], places[where] = true, true
	}
	return list
}

func (s *Settings) checkListener(f faults) {
	switch path, unix := strings.CutPrefix(s.Listen, unixPrefix); {
	case unix && !strings.HasPrefix(path, "/"):
		f.add("listen", "write unix: and an absolute path")
	case unix:
	default:
		host, _, err := net.SplitHostPort(s.Listen)
		switch {
		case err != nil:
			f.add("listen", "write 127.0.0.1:9902, or unix:/path")
		case !origin.Loopback(host) && !s.Expose:
			f.add("listen", "other machines reach this address: write 127.0.0.1, or set expose: true and put TLS in front")
		}
	}
	for i, host := range s.Hosts {
		if !httpguts.ValidHostHeader(host) || host == "" {
			f.add(fmt.Sprintf("hosts[%d]", i), "write host or host:port")
		}
	}
}

func (s *Settings) checkCallers(f faults, c Callers) {
	if len(c.UIDs) > 0 && !strings.HasPrefix(s.Listen, unixPrefix) {
		f.add("callers", "users are known by a unix socket alone: set listen to unix:/path, or use callers: secret")
	}
}

// callersOf is who may use a route: as it says, or its gateway, or the settings, or by
// default the agent's own user on a unix socket, and who has the secret elsewhere.
func (s *Settings) callersOf(r Route) *Callers {
	switch {
	case r.Callers != nil:
		return r.Callers
	case r.Gateway != nil:
		return &Callers{Any: true} // whose token is good
	case s.Callers != nil:
		return s.Callers
	case strings.HasPrefix(s.Listen, unixPrefix):
		return &Callers{UIDs: []uint32{uint32(os.Getuid())}}
	}
	return &Callers{Secret: true}
}

// check looks at a route that was filled in.
func (r *Route) check(f faults, targets []string) {
	p, known := presets[r.Provider]
	if r.Provider != "" && !known {
		f.add("provider", "no preset is called %q: there are %s", r.Provider, strings.Join(Providers(), ", "))
	}
	switch {
	case r.Name == "":
		f.add("name", "give a name, or a provider")
	case !nameForm.MatchString(r.Name):
		f.add("name", "a name has letters, digits, dots, dashes and underscores")
	}
	switch {
	case r.Host != "" && r.Prefix != "":
		f.add("host", "a route has a prefix or a host")
	case r.Host != "" && (!hostForm.MatchString(r.Host) || origin.Loopback(r.Host) || net.ParseIP(r.Host) != nil):
		f.add("host", "write a host's name, without a port")
	case r.Host == "" && r.Prefix != "/" && !prefixForm.MatchString(strings.TrimRight(r.Prefix, "/")):
		f.add("prefix", "write a path such as /openai")
	}
	needsRegion := strings.Contains(p.upstream, "{region}") && r.Upstream == "" || r.Auth.AWS != nil && r.Auth.AWS.Region == ""
	switch {
	case needsRegion && r.Region == "":
		f.add("region", "say which region")
	case r.Region != "" && !regionForm.MatchString(r.Region):
		f.add("region", "a region is called such as us-east-1")
	case r.Upstream == "":
		f.add("upstream", "write where requests go: https://host")
	default:
		if _, err := upstreamURL(r.Upstream); err != nil {
			f.add("upstream", "%v", err)
		}
	}
	if !slices.Contains(targets, r.Target) {
		f.add("target", "no target is called %q", r.Target)
	}
	r.checkAuth(f)
	r.checkRequests(f)
	r.checkCookies(f)
	if r.Gateway != nil {
		r.Gateway.check(f.below("gateway."))
	}
	l := r.Limits
	if l.MaxBody < 0 || l.Buffer < 0 || l.Buffer > 1<<30 || l.Concurrent < 0 || l.Concurrent > 1<<16 {
		f.add("limits", "bytes and numbers are not negative, buffer is at most 1 GiB, and concurrent at most 65536")
	}
	if *l.HeaderTimeout < 0 || *l.IdleTimeout < 0 {
		f.add("limits", "times are not negative; 0 is none")
	}
}

func (r *Route) checkAuth(f faults) {
	switch a := r.Auth; {
	case a.kinds() != 1:
		f.add("auth", "write one of bearer, {header: x-api-key}, {aws: {…}} and {oci: {}}")
	case a.Header != "" && (!httpguts.ValidHeaderFieldName(a.Header) || framing(a.Header)):
		f.add("auth.header", "that is no header for a key")
	case a.AWS != nil && a.AWS.Service == "":
		f.add("auth.aws", "say which service")
	case a.AWS != nil && a.AWS.Region != r.Region && !regionForm.MatchString(a.AWS.Region):
		f.add("auth.aws", "a region is called such as us-east-1")
	}
	signs := r.Auth.AWS != nil || r.Auth.OCI != nil
	if signs && len(r.Upgrades) > 0 {
		f.add("upgrades", "a signed request upgrades no connection")
	}
	for name, value := range r.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || framing(name) || !kept(name, r.Auth) {
			f.add("headers."+name, "that header is not for settings: credentials come from the target")
		}
	}
}

// framing reports whether a header is about the message, the connection or the host.
func framing(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Upgrade", "Keep-Alive",
		"Expect", "Cookie", "Set-Cookie", "Content-Type", "Date":
		return true
	}
	return false
}

func (r *Route) checkRequests(f faults) {
	for i, method := range r.Methods {
		if !methodForm.MatchString(method) || method == http.MethodConnect || method == http.MethodTrace {
			f.add(fmt.Sprintf("methods[%d]", i), "write a method such as POST; CONNECT and TRACE are not passed on")
		}
	}
	if len(r.Paths) == 0 {
		f.add("paths", "list what may be asked for, such as /v1/**")
	}
	for i, text := range r.Paths {
		if _, err := parsePattern(text); err != nil {
			f.add(fmt.Sprintf("paths[%d]", i), "%v", err)
		}
	}
	for i, kind := range r.Upgrades {
		if !strings.EqualFold(kind, "websocket") {
			f.add(fmt.Sprintf("upgrades[%d]", i), "only websocket is passed on")
		}
	}
}

func (r *Route) checkCookies(f faults) {
	c := r.Cookies
	if !c.Enabled {
		return
	}
	f = f.below("cookie_passthrough.")
	if len(c.Names) == 0 {
		f.add("cookie_names", "list the cookies that the upstream needs")
	}
	if c.MaxUsers < 1 || c.MaxUsers > 1<<12 {
		f.add("max_users", "between 1 and 4096")
	}
	upstream, err := upstreamURL(r.Upstream)
	if err != nil {
		return // said already
	}
	if c.Origin != "" {
		if o, err := url.Parse(c.Origin); err != nil || o.Path != "" || o.RawQuery != "" || o.Host == "" || originOf(o) != originOf(upstream) {
			f.add("origin", "cookies belong to %s://%s, where the upstream is: they go nowhere else", upstream.Scheme, upstream.Host)
		}
	}
	for i, name := range c.Names {
		lower := strings.ToLower(name) // prefixes count in any case (RFC 6265bis §4.1.3)
		secure := strings.HasPrefix(lower, "__secure-") || strings.HasPrefix(lower, "__host-")
		switch key := fmt.Sprintf("cookie_names[%d]", i); {
		case !httpguts.ValidHeaderFieldName(name):
			f.add(key, "that is no name of a cookie")
		case slices.Index(c.Names, name) < i:
			f.add(key, "listed twice")
		case secure && upstream.Scheme != "https":
			f.add(key, "such a cookie goes over https alone")
		case strings.HasPrefix(lower, "__host-") && c.Origin == "":
			f.add(key, "such a cookie belongs to the one host that set it: confirm by origin that it is %s://%s", upstream.Scheme, upstream.Host)
		}
	}
}

func (g *Gateway) check(f faults) {
	if _, err := upstreamURL(g.Issuer); err != nil {
		f.add("issuer", "%v", err)
	}
	if g.Audience == "" {
		f.add("audience", "say which audience tokens for this gateway have")
	}
	if g.JWKSURL != "" {
		if u, err := url.Parse(g.JWKSURL); err != nil || !fetchable(u) {
			f.add("jwks_url", "write https://host/path")
		}
	}
	if s := g.skew(); s < 0 || s > 5*time.Minute {
		f.add("clock_skew", "between 0 and 5m")
	}
	for i, name := range g.Algorithms {
		if !slices.Contains(algorithms, name) {
			f.add(fmt.Sprintf("algorithms[%d]", i), "there are %s", strings.Join(algorithms, ", "))
		}
	}
	for name, value := range g.RequiredClaims {
		if len(accepted(value)) == 0 {
			f.add("required_claims."+name, "write a value, or a list of those that are good")
		}
	}
	if g.MaxUsers < 0 || g.MaxUsers > 1<<20 {
		f.add("max_users", "between 1 and 1048576")
	}
}
