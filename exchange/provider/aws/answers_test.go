package aws_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// TestS24AnswersAreBounded, whatever client the driver was lent: size, type and place.
func TestS24AnswersAreBounded(t *testing.T) {
	const begun = `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>`
	for name, c := range map[string]struct {
		status int
		kind   string
		header map[string]string
		body   string
		long   int
		want   exchange.Kind
		wait   time.Duration
		asked  int64
	}{
		"a long answer":  {200, "text/xml", nil, begun + "<Audience>", 10 << 20, exchange.KindUnavailable, 0, 1},
		"a long refusal": {400, "text/xml", nil, "<ErrorResponse><Error><Message>", 10 << 20, exchange.KindUnavailable, 0, 1},
		"half an answer": {200, "text/xml", nil, begun, 0, exchange.KindUnavailable, 0, 1},
		"no answer":      {200, "text/xml", nil, "", 0, exchange.KindUnavailable, 0, 1},
		"no credentials": {200, "text/xml", nil, begun + "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>", 0, exchange.KindUnavailable, 0, 1},
		"JSON":           {200, "application/json", nil, `{"access_token":"x"}`, 0, exchange.KindUnavailable, 0, 1},
		"a page":         {404, "text/html", nil, "<html><p>not here", 0, exchange.KindUnavailable, 0, 1},
		"elsewhere":      {307, "text/xml", map[string]string{"Location": "/elsewhere"}, "", 0, exchange.KindUnavailable, 0, 1},
		"too often":      {429, "text/plain", map[string]string{"Retry-After": "7"}, "slow down", 0, exchange.KindThrottled, 7 * time.Second, 1},
		"an odd code": {400, "text/xml", nil, `<ErrorResponse><Error><Code>Odd</Code><Message>what?</Message></Error></ErrorResponse>`, 0,
			exchange.KindMisconfigured, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", c.kind)
				for name, value := range c.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
				_, _ = io.WriteString(w, strings.Repeat("x", c.long))
			}))
			defer web.Close()
			y := newYard(t, nil)
			y.deps.HTTP = web.Client()
			y.deps.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			s := y.settings()
			s.Endpoint = web.URL
			got, err := y.vend(t, s, nil)
			// A long answer is cut off, which may look like a connection that broke: that
			// is worth another attempt.
			if exchange.KindOf(err) != c.want || !got.Value.IsZero() || asked.Load() != c.asked && c.long == 0 {
				t.Errorf("asked %d times: %v, want %v after %d", asked.Load(), err, c.want, c.asked)
			}
			if e, ok := err.(*exchange.Error); ok && (e.RetryAfter != c.wait || len(e.Error()) > 1000 || e.Advice == "") {
				t.Errorf("after %v: %v", e.RetryAfter, e)
			}
		})
	}
}
