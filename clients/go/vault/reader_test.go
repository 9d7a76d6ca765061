package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	"github.com/cambio-sts/cambio/clients/go/vault"
)

func TestALeaseIsASecretOfTheSDK(t *testing.T) {
	server, _, _ := house(t)
	server.Serve("db", func(url.Values, int) standin.Answer {
		return standin.Answer{
			Value: `{"lease_id":"database/creds/app/1","renewable":true,"data":{"username":"app","password":"vended-secret-a","port":5432}}`,
			Type:  "N_A", IssuedTokenType: cambio.TokenTypeVaultLease, Life: time.Hour,
		}
	})
	reader := vault.NewReader(server.Client().TokenSource(cambio.Request{Audience: "db"}), nil)
	secret, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if secret.LeaseID != "database/creds/app/1" || secret.LeaseDuration != 3600 || secret.Renewable || secret.Data["port"] != json.Number("5432") {
		t.Errorf("lease %q of %d s, port %v", secret.LeaseID, secret.LeaseDuration, secret.Data["port"])
	}
	secret.Data["username"] = "changed"
	server.Clock.Advance(time.Minute)
	if secret, err = reader.Read(t.Context()); err != nil || secret.Data["username"] != "app" || secret.LeaseDuration != 3540 {
		t.Errorf("a minute later: %q, %d s, %v", secret.Data["username"], secret.LeaseDuration, err)
	}
}

func TestAFieldIsOneValue(t *testing.T) {
	server, b, _ := house(t)
	server.Serve("key", b.token)
	secret, err := vault.NewReader(server.Client().TokenSource(cambio.Request{Audience: "key"}), nil).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := secret.Data["value"].(string); !strings.HasPrefix(text, "hvs.") || secret.LeaseID != "" {
		t.Error("the field is not in it")
	}
}

func TestAWrappingTokenIsUsedOnce(t *testing.T) {
	server, b, at := house(t)
	server.Serve("db", b.wrap(time.Hour))
	c := client(t, at.URL)
	reader := vault.NewReader(server.Client().TokenSource(cambio.Request{Audience: "db"}), c)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			secret, err := reader.Read(t.Context())
			if err != nil || secret.Data["username"] != "app" || secret.LeaseDuration != 3600 || secret.Renewable {
				t.Errorf("unwrapped: %v", err)
			}
		})
	}
	all.Wait()
	if b.unwraps != 1 || server.Exchanges("db") != 1 {
		t.Errorf("%d calls to unwrap, %d exchanges", b.unwraps, server.Exchanges("db"))
	}
	if c.Token() != "" {
		t.Error("the client keeps the wrapping token")
	}
}

func TestACallerWhoLeavesUsesNothingUp(t *testing.T) {
	server, b, at := house(t)
	server.Serve("db", b.wrap(time.Hour))
	b.hold = make(chan struct{})
	reader := vault.NewReader(server.Client().TokenSource(cambio.Request{Audience: "db"}), client(t, at.URL))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := reader.Read(ctx)
		left <- err
	}()
	<-b.hold
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	b.hold <- struct{}{}
	if _, err := reader.Read(t.Context()); err != nil {
		t.Errorf("who stays: %v", err)
	}
	if b.unwraps != 1 || server.Exchanges("db") != 1 {
		t.Errorf("%d calls to unwrap, %d exchanges", b.unwraps, server.Exchanges("db"))
	}
}

func TestAWrappingTokenThatWasUsedIsReplaced(t *testing.T) {
	server, b, at := house(t)
	server.Serve("db", b.wrap(time.Hour))
	source := server.Client().TokenSource(cambio.Request{Audience: "db"})
	if _, err := source.Credential(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.set(func() { clear(b.wrapped) })
	secret, err := vault.NewReader(source, client(t, at.URL)).Read(t.Context())
	if err != nil || secret.Data["n"] != json.Number("2") {
		t.Fatalf("unwrapped: %v", err)
	}
	if n := server.Exchanges("db"); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

// What was unwrapped is good on, while the next token cannot be.
func TestASecretIsServedUntilItDies(t *testing.T) {
	server, b, at := house(t)
	server.Serve("db", b.wrap(time.Hour))
	source := server.Client().TokenSource(cambio.Request{Audience: "db"})
	reader := vault.NewReader(source, client(t, at.URL))
	first, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.set(func() { b.down = true })
	held, _ := source.Held()
	server.Clock.Advance(50 * time.Minute)
	if _, err := source.Renew(t.Context(), held.Value); err != nil {
		t.Fatal(err)
	}
	second, err := reader.Read(t.Context())
	if err != nil || second.Data["n"] != first.Data["n"] || second.LeaseDuration != 600 {
		t.Fatalf("ten minutes before its end: %v", err)
	}
	server.Clock.Advance(10 * time.Minute)
	var refused *api.ResponseError
	if _, err := reader.Read(t.Context()); !errors.As(err, &refused) {
		t.Errorf("after the end, without Vault: %v", err)
	}
	server.Close()
	server.Clock.Advance(time.Hour)
	var down *cambio.Error
	if _, err := reader.Read(t.Context()); !errors.As(err, &down) || down.Code != cambio.CodeUnreachable {
		t.Errorf("after the end, without Cambio: %v", err)
	}
}

func TestOtherCredentialsSayWhatToChange(t *testing.T) {
	for name, c := range map[string]struct{ kind, value, want string }{
		"bearer":   {cambio.TokenTypeAccessToken, "vended-secret-a", "name a target of provider vault"},
		"wrapped":  {cambio.TokenTypeVaultWrapping, "vended-secret-a", "give NewReader a client"},
		"no JSON":  {cambio.TokenTypeVaultLease, "vended-secret-a", "no JSON object with data"},
		"no data":  {cambio.TokenTypeVaultLease, `{"lease_id":"vended-secret-a"}`, "no JSON object with data"},
		"bad data": {cambio.TokenTypeVaultLease, `{"data":["vended-secret-a"]}`, "no JSON object with data"},
	} {
		server, _, _ := house(t)
		server.Serve("db", func(url.Values, int) standin.Answer {
			return standin.Answer{Value: c.value, Type: "N_A", IssuedTokenType: c.kind, Life: time.Hour}
		})
		_, err := vault.NewReader(server.Client().TokenSource(cambio.Request{Audience: "db"}), nil).Read(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "vended-secret-") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAWrappingTokenGoesNowhereElse(t *testing.T) {
	server, b, at := house(t)
	server.Serve("db", b.wrap(time.Hour))
	source := server.Client().TokenSource(cambio.Request{Audience: "db"})
	other := newBank()
	elsewhere := other.start()
	defer elsewhere.Close()
	b.set(func() { b.redirect = elsewhere.URL; other.wrapped = b.wrapped })
	if _, err := vault.NewReader(source, client(t, at.URL)).Read(t.Context()); err == nil || other.unwraps != 0 {
		t.Errorf("the redirect was followed: %v", err)
	}
	if _, err := vault.NewReader(source, client(t, "http://vault.example:8200")).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("plain HTTP: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"lease_id":"a","renewable":true,"data":{"a":1}}`)
	f.Add(`{"data":{}}`)
	f.Add(`null`)
	now := time.Unix(1<<30, 0)
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := vault.Read(&cambio.Credential{
			Value: cambio.NewSecret(text), IssuedTokenType: cambio.TokenTypeVaultLease, Expires: now.Add(time.Minute),
		}, now)
		if err == nil && (secret.Data == nil || secret.LeaseDuration != 60) {
			t.Errorf("half a secret of %q", text)
		}
	})
}
