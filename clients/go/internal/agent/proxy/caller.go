package proxy

import (
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
)

// foreign refuses what no SDK sends, and a browser or a confused proxy does (S36): pages
// of other origins, names that are not the listener's (DNS rebinding), and requests that
// are meant for a forward proxy (RFC 9112 §3.2.2).
func (r *Room) foreign(req *http.Request) *refusal {
	if req.Method == http.MethodConnect || !strings.HasPrefix(req.RequestURI, "/") {
		return refuse(http.StatusBadRequest, "no_forward_proxy", "this is no forward proxy: ask for a path of it, such as %s", r.example())
	}
	for name := range req.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return refuse(http.StatusForbidden, "browser", "pages in a browser are not served: %s is there", name)
		}
	}
	if !r.ownHost(req) {
		return refuse(http.StatusMisdirectedRequest, "foreign_host", "the Host is not this listener's: use its address, or list the name in proxy.hosts")
	}
	return nil
}

// ownHost reports whether Host names the listener, or a route.
func (r *Room) ownHost(req *http.Request) bool {
	host := strings.ToLower(req.Host)
	if slices.Contains(r.hosts, host) {
		return true
	}
	c := listen.Conn(req.Context())
	if c == nil {
		return false
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), ""
	}
	if slices.ContainsFunc(r.routes, func(t *route) bool { return t.host != "" && t.host == name }) {
		return true
	}
	own, ownPort, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil { // a unix socket, whose clients make up a name
		return name == "localhost" && c.LocalAddr().Network() == "unix"
	}
	if port == "" {
		port = "80"
	}
	ip := net.ParseIP(own)
	return port == ownPort && (name == own || name == "localhost" && ip != nil && ip.IsLoopback())
}

// others reports whether another user of this machine than the agent's is among them.
func (c *Callers) others() bool {
	return slices.ContainsFunc(c.UIDs, func(uid uint32) bool { return int64(uid) != int64(os.Getuid()) })
}

// admit decides whether the caller is one of a route's (S36).
func (c *Callers) admit(req *http.Request, secret cambio.Secret) *refusal {
	switch {
	case c.Any:
		return nil
	case len(c.UIDs) > 0:
		uid, err := listen.PeerUID(listen.Conn(req.Context()))
		if err != nil || !slices.Contains(c.UIDs, uid) {
			return refuse(http.StatusForbidden, "unknown_caller", "this user may not call: list the uid in callers")
		}
		return nil
	case presents(req, secret):
		return nil
	}
	r := refuse(http.StatusUnauthorized, "unknown_caller", "send the secret of the agent's start as the API key: it is in secret_file")
	r.challenge = "Bearer"
	return r
}

// presents reports whether a request brings the secret where SDKs have their API key: as
// a bearer token, in one of the usual headers, or as the access key id of a SigV4
// signature, which SDKs make with whatever they have.
func presents(req *http.Request, secret cambio.Secret) bool {
	found := false
	try := func(text string) {
		if cambio.NewSecret(text).Equal(secret) && !secret.IsZero() {
			found = true
		}
	}
	for _, name := range keyHeaders {
		for _, value := range req.Header.Values(name) {
			try(value)
		}
	}
	for _, value := range req.Header.Values("Authorization") {
		scheme, rest, _ := strings.Cut(value, " ")
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			try(strings.TrimSpace(rest))
		case strings.EqualFold(scheme, "AWS4-HMAC-SHA256"):
			for part := range strings.SplitSeq(rest, ",") {
				if id, ok := strings.CutPrefix(strings.TrimSpace(part), "Credential="); ok {
					id, _, _ = strings.Cut(id, "/")
					try(id)
				}
			}
		}
	}
	return found
}

// keyHeaders are where SDKs put an API key: Anthropic, Azure, Google.
var keyHeaders = []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"}
