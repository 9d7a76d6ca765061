package outbound

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// guard stands before the transport: hosts and schemes on the way out, redirects
// and sizes on the way back.
type guard struct {
	next      http.RoundTripper
	hosts     hosts
	plaintext bool
	max       int64
}

// RoundTrip is one call.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.admit(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	answer, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400 && answer.StatusCode != http.StatusNotModified:
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: %s answered %d: give the address that it redirects to", ErrRedirect, r.URL.Hostname(), answer.StatusCode)
	case answer.ContentLength > g.max:
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes are announced, %d is the limit", ErrTooLarge, answer.ContentLength, g.max)
	}
	answer.Body = &bounded{body: answer.Body, left: g.max, max: g.max}
	return answer, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (g *guard) admit(r *http.Request) error {
	host := r.URL.Hostname()
	if !g.hosts.match(host) {
		return &refusal{ErrHost, fmt.Sprintf("add %.253q to outbound.allow of cambio.yaml if it is to be asked", host)}
	}
	switch r.URL.Scheme {
	case "https":
		return nil
	case "http":
		if g.plaintext || exchange.LoopbackHost(strings.ToLower(host)) {
			return nil
		}
		return &refusal{ErrPlaintext, fmt.Sprintf("use https for %.253q", host)}
	}
	return &refusal{ErrPlaintext, "the scheme must be https"}
}

// bounded fails past its limit instead of pretending that the body ended there.
type bounded struct {
	body io.ReadCloser
	left int64
	max  int64
}

// Read reads on, up to the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLarge()
	}
	if int64(len(p)) > b.left+1 { // one more than allowed tells an end from an overrun
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, b.tooLarge()
	}
	return n, err
}

func (b *bounded) tooLarge() error {
	return fmt.Errorf("%w: %d bytes is the limit", ErrTooLarge, b.max)
}

// Close closes the body.
func (b *bounded) Close() error { return b.body.Close() }

// hosts are the patterns of the allow-list, lower case.
type hosts []string

func newHosts(patterns []string) (hosts, error) {
	out := make(hosts, 0, len(patterns))
	for _, p := range patterns {
		clean := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(p)), ".")
		if clean == "" || strings.ContainsAny(clean, "/ @?#") {
			return nil, errors.New("an outbound allow-list entry is a host name or a pattern like *.example.com, not " + quoteShort(p))
		}
		out = append(out, clean)
	}
	return out, nil
}

func quoteShort(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return fmt.Sprintf("%q", s)
}

func (h hosts) match(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" {
		return false
	}
	for _, pattern := range h {
		if glob(pattern, host) {
			return true
		}
	}
	return false
}

// glob matches the whole of s; only `*` is special. It backtracks to the last
// star alone, so that its work is bounded by len(pattern)*len(s).
func glob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
