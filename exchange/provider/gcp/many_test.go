package gcp_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// TestS23TenThousandVendsShareNothing: whoever comes at once for one target, each has
// a token of their own subject.
func TestS23TenThousandVendsShareNothing(t *testing.T) {
	const vends, workers = 10_000, 32
	issuer := providertest.NewQuickFederation(t)
	s, err := gcpsandbox.New(gcpsandbox.Options{
		World: issuer.World(), Providers: []gcpsandbox.Provider{{Name: name}},
		Accounts: []gcpsandbox.Account{{Email: account, Users: []string{"principalSet://iam.googleapis.com/" + pool + "/*"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := providertest.Inside(s)
	settings := &gcp.Settings{Provider: name, ServiceAccount: account, Subject: []string{"subject"}}
	d, err := settings.Open(provider.Deps{HTTP: client, Asserter: issuer, Now: time.Now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	h := providertest.Harness{Provider: "gcp", Config: settings, Deps: provider.Deps{Now: time.Now}, Scopes: settings.Facts().Scopes}
	target := h.Grant(t, "x")
	next := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := range next {
				g := target
				g.Subject.Name = fmt.Sprintf("k8s:prod:llm:s%d", n)
				c, err := d.Vend(t.Context(), g)
				if err != nil {
					t.Error(err)
					continue
				}
				if who := whoami(t, client, c.Value); !strings.HasSuffix(who, exchange.CanonicalName("", g.Subject.Name)+".") {
					t.Errorf("%s has a token of %q", g.Subject.Name, who)
				}
			}
		})
	}
	for n := range vends {
		next <- n
	}
	close(next)
	all.Wait()
}

// whoami is the answer of a bucket's one object.
func whoami(t *testing.T, client *http.Client, bearer exchange.Secret) string {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://storage.googleapis.com/storage/v1/b/models/o", nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	answer, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	var listed struct {
		Items []struct{ Metadata struct{ WhoAmI string } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&listed); err != nil || len(listed.Items) != 1 {
		t.Errorf("no answer: %v", err)
		return ""
	}
	return listed.Items[0].Metadata.WhoAmI
}
