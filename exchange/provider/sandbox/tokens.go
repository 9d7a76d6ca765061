package sandbox

import (
	"crypto/rand"
	"sync"
	"time"
)

// Tokens are the opaque tokens that a stand-in has issued. It is safe for concurrent
// use.
type Tokens struct {
	now func() time.Time

	mu     sync.Mutex
	issued map[string]issued
}

type issued struct {
	to      string
	expires time.Time
}

// NewTokens makes a stand-in's tokens, of which there are none yet.
func NewTokens(w World) *Tokens { return &Tokens{now: w.Now, issued: map[string]issued{}} }

// Issue makes a token for somebody, whose name the stand-in gives.
func (t *Tokens) Issue(prefix, to string, life time.Duration) string {
	value := prefix + rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issued[value] = issued{to: to, expires: t.now().Add(life)}
	return value
}

// Whoami is whom a token was issued to; false: it is unknown, or has expired.
func (t *Tokens) Whoami(value string) (to string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.issued[value]
	return one.to, ok && t.now().Before(one.expires)
}
