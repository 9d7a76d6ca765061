package killpoint

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// bank is the provider's side. It lives in the parent, so that it remembers what
// the child minted before it died.
type bank struct {
	url     string
	mu      sync.Mutex
	mints   []exchange.ID
	revoked map[exchange.ID]bool
}

func newBank(t *testing.T) *bank {
	b := &bank{revoked: map[exchange.ID]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := exchange.ParseID(r.URL.Query().Get("exchange"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.Method == http.MethodDelete {
			b.revoked[id] = true
			return
		}
		b.mints = append(b.mints, id)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *bank) minted() []exchange.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]exchange.ID(nil), b.mints...)
}

func (b *bank) revoke(id exchange.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revoked[id] = true
}

func (b *bank) isRevoked(id exchange.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revoked[id]
}
