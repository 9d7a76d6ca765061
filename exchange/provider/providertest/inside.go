package providertest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// Inside is a client that reaches a stand-in without a network, for tests of very many
// calls.
func Inside(h http.Handler) *http.Client { return &http.Client{Transport: inside{h}} }

type inside struct{ http.Handler }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	to := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	to.Header = r.Header.Clone()
	w := httptest.NewRecorder()
	i.ServeHTTP(w, to)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

// Vends is how many exchanges NeverShare makes.
const Vends = 10_000

// NeverShare vends ten thousand times for these subjects at once, and asks of each
// credential whose it is. change, if any, completes a grant for its subject.
func (h Harness) NeverShare(t *testing.T, subjects []string, change func(*exchange.Grant), whose func(exchange.Credential) string) {
	t.Helper()
	d, err := h.Config.Open(h.Deps)
	if err != nil {
		t.Fatal(err)
	}
	work := make(chan exchange.Grant)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for g := range work {
				c, err := d.Vend(t.Context(), g)
				if err != nil {
					t.Error(err)
				} else if who := whose(c); who != g.Subject.Name {
					t.Errorf("%s got a credential of %s", g.Subject.Name, who)
				}
			}
		})
	}
	for n := range Vends {
		g := h.Grant(t, subjects[n%len(subjects)])
		if change != nil {
			change(&g)
		}
		work <- g
	}
	close(work)
	all.Wait()
}
