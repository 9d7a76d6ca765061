package azure_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// TestS23TenThousandVendsShareNothing: azidentity's token cache, which looks at
// neither assertion nor user, is never between two subjects. Twenty subjects are as
// many as an application can tell apart.
func TestS23TenThousandVendsShareNothing(t *testing.T) {
	const vends, workers, subjects = 10_000, 16, 20
	issuer := providertest.NewQuickFederation(t)
	names := make([]string, subjects)
	for n := range names {
		names[n] = fmt.Sprintf("k8s:prod:llm:s%d", n)
	}
	s, err := azuresandbox.New(azuresandbox.Options{World: issuer.World(), TenantID: tenant, KeyBits: 1024,
		Apps: []azuresandbox.App{{ClientID: app, Credentials: credentialsFor(issuer.Issuer, names...)}}})
	if err != nil {
		t.Fatal(err)
	}
	settings := &azure.Settings{TenantID: tenant, ClientID: app, Scope: scope, Subject: []string{"subject"}, MayOutlive: true}
	d, err := settings.Open(provider.Deps{HTTP: providertest.Inside(s), Asserter: issuer, Now: time.Now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	h := providertest.Harness{Provider: "azure", Config: settings, Deps: provider.Deps{Now: time.Now}, Scopes: []string{scope}}
	target := h.Grant(t, "x")
	next := make(chan int)
	var mu sync.Mutex
	seen := map[string]bool{}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := range next {
				g := target
				g.Subject.Name = names[n%subjects]
				c, err := d.Vend(t.Context(), g)
				if err != nil {
					t.Error(err)
					continue
				}
				said := payload(t, c.Value)
				want := credentialsFor("", g.Subject.Name)[0].Subject
				if got := said["sandbox"].(map[string]any)["subject"]; got != want {
					t.Errorf("%s has a token of %v", want, got)
				}
				mu.Lock()
				if seen[c.Handle] {
					t.Errorf("one token twice")
				}
				seen[c.Handle] = true
				mu.Unlock()
			}
		})
	}
	for n := range vends {
		next <- n
	}
	close(next)
	all.Wait()
}
