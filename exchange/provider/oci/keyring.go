package oci

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// keyring makes keys ahead of time, one in stock: a key of 2048 bits takes a tenth of
// a second, more or less.
type keyring struct {
	stock chan *rsa.PrivateKey
	busy  chan struct{} // one is being made for the stock
}

// sessionBits is the size of a session's key.
const sessionBits = 2048

func newKeyring() *keyring {
	return &keyring{stock: make(chan *rsa.PrivateKey, 1), busy: make(chan struct{}, 1)}
}

// take returns a key that nobody else has.
func (k *keyring) take(ctx context.Context) (*rsa.PrivateKey, error) {
	defer k.refill()
	select {
	case key := <-k.stock:
		return key, nil
	default:
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	key, err := rsa.GenerateKey(rand.Reader, sessionBits)
	if err != nil {
		return nil, fmt.Errorf("making a session's key: %w", err)
	}
	return key, nil
}

// refill makes one key in the background, unless one is being made.
func (k *keyring) refill() {
	select {
	case k.busy <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-k.busy }()
		key, err := rsa.GenerateKey(rand.Reader, sessionBits)
		if err != nil {
			return // the next session makes its own, and says so
		}
		select {
		case k.stock <- key:
		default:
		}
	}()
}
