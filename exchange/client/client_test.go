package client_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type directory map[string]exchange.Client

func (d directory) Client(name string) (exchange.Client, bool) {
	c, ok := d[name]
	return c, ok
}
func (d directory) ClientsOf(exchange.Subject) []exchange.Client { return nil }

func open(d directory) *client.Authenticator {
	return client.New(client.Options{Directory: func() client.Directory { return d }, Issuer: "https://cambio.example"})
}

func sumOf(text string) [32]byte { return sha256.Sum256([]byte(text)) }

func TestSecretsAreLongAndNew(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s, hash, err := client.NewSecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sum := sumOf(s.Reveal())
		if len(s.Reveal()) < 43 || seen[s.Reveal()] || hash != hex.EncodeToString(sum[:]) {
			t.Fatalf("%q", hash)
		}
		seen[s.Reveal()] = true
	}
	if _, _, err := client.NewSecret(strings.NewReader("short")); err == nil {
		t.Error("a secret of too little")
	}
}

// While one secret replaces the other both are good, and nothing else is.
func TestSecretRotation(t *testing.T) {
	one, _, _ := client.NewSecret(rand.Reader)
	two, _, _ := client.NewSecret(rand.Reader)
	three, _, _ := client.NewSecret(rand.Reader)
	a := open(directory{"ci": {Tenant: "default", Name: "ci", Secrets: [][32]byte{sumOf(one.Reveal()), sumOf(two.Reveal())}}})
	for secret, want := range map[exchange.Secret]bool{one: true, two: true, three: false} {
		p, err := a.Secret(t.Context(), "ci", secret, noon)
		if (err == nil) != want || want && (p.Client.Name != "ci" || p.Self.Name != "client:ci" || p.Self.Issuer != "https://cambio.example") {
			t.Errorf("%v %v", p.Client.Name, err)
		}
	}
}

// S17: an unknown client and a wrong secret are one answer, and what a person made
// up is no secret whatever its hash.
func TestS17WrongSecretsAreOneAnswer(t *testing.T) {
	good, _, _ := client.NewSecret(rand.Reader)
	a := open(directory{
		"ci":     {Tenant: "default", Name: "ci", Secrets: [][32]byte{sumOf(good.Reveal()), sumOf("hunter2")}},
		"keyed":  {Tenant: "default", Name: "keyed", Keys: exchange.KeySource{File: "x"}},
		"zeroes": {Tenant: "default", Name: "zeroes", Secrets: [][32]byte{{}}},
	})
	texts := map[string]bool{}
	for _, c := range []struct{ id, secret string }{
		{"nobody", good.Reveal()}, {"keyed", good.Reveal()}, {"zeroes", good.Reveal()}, {"", good.Reveal()}, {"ci", "hunter2"},
		{"ci", good.Reveal() + "\n"}, {"ci", strings.ToUpper(good.Reveal())}, {"ci", good.Reveal()[:20]}, {"nobody", "x"},
	} {
		_, err := a.Secret(context.Background(), c.id, exchange.NewSecret(c.secret), noon)
		if exchange.KindOf(err) != exchange.KindInvalidClient {
			t.Fatalf("%s: %v", c.id, err)
		}
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("%d answers: %v", len(texts), texts)
	}
}
