package proxy

import (
	"net/http"
	"net/url"
	"strings"
)

// relocate looks at where an answer points. Inside the upstream it becomes a path of the
// proxy, and the lists decide again should the caller go there. A redirect to anywhere
// else is an error: a client that followed it would leave the proxy, and the proxy itself
// follows none, for it would bring the credential along.
func (t *route) relocate(resp *http.Response) error {
	text := resp.Header.Get("Location")
	if text == "" {
		return nil
	}
	redirect := resp.StatusCode >= 300 && resp.StatusCode < 400
	to, err := resp.Request.URL.Parse(text)
	if err == nil && to.User == nil && originOf(to) == originOf(t.upstream) {
		if inside, ok := t.inside(to); ok {
			resp.Header.Set("Location", inside)
			return nil
		}
	}
	if !redirect {
		return nil // it names something, and leads nowhere
	}
	where := "something that is no URL"
	if err == nil {
		where = originOf(to)
	}
	if err == nil && originOf(to) == originOf(t.upstream) {
		where = "another part of " + where
	}
	return refuse(http.StatusBadGateway, "redirected", "the upstream redirects to %s, which is not followed: if that is right, make it the route's upstream", where)
}

// inside is a URL of the upstream as a path of the proxy.
func (t *route) inside(to *url.URL) (string, bool) {
	rest, ok := strings.CutPrefix(to.EscapedPath(), t.base)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	path := t.prefixText() + rest
	if path == "" {
		path = "/"
	}
	if to.RawQuery != "" {
		path += "?" + to.RawQuery
	}
	return path, !strings.HasPrefix(path, "//")
}

// originOf is a URL's scheme, host and port (RFC 6454 §4).
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
