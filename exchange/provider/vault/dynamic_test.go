package vault_test

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

// TestDatabase: a role is in PostgreSQL after the exchange, lives longer by a renewal,
// and is gone after the revocation, with the login that it hung on.
func TestDatabase(t *testing.T) {
	y := newYard(t)
	s, d := y.database(t)
	c := y.must(t, s)
	h := open(t, c.Value.Reveal())
	if h.LeaseID == "" || h.LeaseID != c.Handle || !h.Renewable || c.TokenType != "N_A" || c.IssuedType != vault.TokenTypeLease {
		t.Errorf("%s, renewable %t, %s, %s", h.LeaseID, h.Renewable, c.TokenType, c.IssuedType)
	}
	if strings.Contains(c.Value.Reveal(), `"token"`) || strings.Contains(c.Value.Reveal(), "s.") {
		t.Error("the login is handed out")
	}
	if err := connect(t.Context(), d, h.Data); err != nil {
		t.Fatal(err)
	}
	driver := y.driver(t, s)
	until := time.Now().Add(40 * time.Minute)
	expires, err := driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, until)
	if err != nil || expires.After(until) || until.Sub(expires) > 2*time.Second || !expires.After(c.Expires) {
		t.Errorf("renewed until %v, asked until %v: %v", expires, until, err)
	}
	ends, err := y.ends(t, h.LeaseID)
	if err != nil || ends.Sub(expires).Abs() > 10*time.Second {
		t.Errorf("OpenBao ends it at %v, told until %v: %v", ends, expires, err)
	}
	if n := y.tokens(t); n != 1 {
		t.Errorf("%d logins live, and one keeps the lease", n)
	}
	for range 2 {
		if err := driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
			t.Fatal(err)
		}
	}
	if connect(t.Context(), d, h.Data) == nil {
		t.Error("a revoked role logs in")
	}
	if err := d.Try(t.Context(), "cambio_super", fmt.Sprintf(`do $$ begin if exists (select from pg_roles where rolname = '%s') then raise 'it is there'; end if; end $$`, h.Data["username"])); err != nil {
		t.Error(err)
	}
	if n := y.tokens(t); n != 0 {
		t.Errorf("%d logins live on", n)
	}
	if _, err := driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, until); exchange.KindOf(err) != exchange.KindProviderRefused {
		t.Errorf("renewing what is revoked: %v", err)
	}
}

// TestS5LeasesAreCutToTheirCaps: the engine would give an hour.
func TestS5LeasesAreCutToTheirCaps(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	for _, life := range []time.Duration{12 * time.Second, 90 * time.Second, 10 * time.Minute, 2 * time.Hour} {
		s.TTL = 30 * time.Minute
		g := y.grant(t, s, within(life))
		c, err := y.driver(t, s).Vend(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := y.ends(t, c.Handle)
		if err != nil || ends.After(g.NotAfter) || ends.After(g.Now.Add(s.TTL+10*time.Second)) || ends.Sub(c.Expires).Abs() > 5*time.Second {
			t.Errorf("within %v OpenBao ends it at %v, told at %v, the cap is %v: %v", life, ends, c.Expires, g.NotAfter, err)
		}
	}
}

// TestS26TheLoginLivesAsLongAsTheLease, whatever its role gives, and no longer.
func TestS26TheLoginLivesAsLongAsTheLease(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	for name, ttl := range map[string]string{"short": "30s", "long": "24h"} {
		t.Run(name, func(t *testing.T) {
			y.role(t, name, map[string]any{"token_ttl": ttl})
			s.Auth.Role = name
			c := y.must(t, s)
			if life := c.Expires.Sub(c.Issued); life < 14*time.Minute || life > 15*time.Minute {
				t.Errorf("it lives %v", life)
			}
			if life := y.loginLife(t, c); life < 14*time.Minute || life > 15*time.Minute {
				t.Errorf("its login lives %v", life)
			}
			if err := y.driver(t, s).(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("fixed", func(t *testing.T) { // what the role caps caps the lease
		y.role(t, "fixed", map[string]any{"token_ttl": "1m", "token_max_ttl": "1m"})
		s.Auth.Role = "fixed"
		c := y.must(t, s)
		if life := c.Expires.Sub(c.Issued); life > time.Minute+5*time.Second {
			t.Errorf("it is told to live %v, and its login dies after a minute", life)
		}
		expires, err := y.driver(t, s).(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(10*time.Minute))
		if err != nil || expires.After(c.Issued.Add(time.Minute+5*time.Second)) {
			t.Errorf("renewed until %v: %v", expires, err)
		}
	})
}

// TestBatchLogin: Vault keeps nothing of such a login, so it is neither renewed nor
// ended; its leases are, within its life.
func TestBatchLogin(t *testing.T) {
	y := newYard(t)
	s, d := y.database(t)
	y.role(t, "batch", map[string]any{"token_type": "batch", "token_ttl": "12m"})
	s.Auth.Role = "batch"
	c := y.must(t, s, within(5*time.Minute))
	driver := y.driver(t, s)
	expires, err := driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour))
	if life := expires.Sub(c.Issued); err != nil || life < 10*time.Minute || life > 12*time.Minute+5*time.Second {
		t.Errorf("renewed for %v: %v", life, err)
	}
	data := open(t, c.Value.Reveal()).Data
	for range 2 {
		if err := driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil || connect(t.Context(), d, data) == nil {
			t.Errorf("it lives on: %v", err)
		}
	}
}

// hungOn is the login that a lease hangs on.
func hungOn(c exchange.Credential) string {
	_, rest, _ := strings.Cut(c.RevokeWith.Reveal(), `"token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// loginLife is how long the login lives that a credential hangs on.
func (y *yard) loginLife(t *testing.T, c exchange.Credential) time.Duration {
	t.Helper()
	a, err := y.bao.Try(t.Context(), y.namespace, http.MethodPost, "auth/token/lookup", map[string]any{"token": hungOn(c)})
	if err != nil {
		t.Fatal("the login is not there")
	}
	return time.Duration(a["data"].(map[string]any)["ttl"].(float64)) * time.Second
}

// TestRevokesByTheLogin: where the policy does not let leases be ended, they end with
// the login.
func TestRevokesByTheLogin(t *testing.T) {
	y := newYard(t)
	s, d := y.database(t)
	y.policy(t, fmt.Sprintf(`path "%s" { capabilities = ["read"] }`, s.Path))
	c := y.must(t, s)
	if err := y.driver(t, s).(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
		t.Fatal(err)
	}
	if n := y.tokens(t); n != 0 {
		t.Errorf("%d logins live on", n)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for connect(t.Context(), d, open(t, c.Value.Reveal()).Data) == nil { // OpenBao comes to it a moment later
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal("the role lives on")
		}
	}
}

// TestNothingIsLeftOfAFailure: what the engine made is ended by the login, even where
// nobody heard of it.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	s.Field = "none"
	d := y.driver(t, s)
	c, err := d.Vend(t.Context(), y.grant(t, s))
	if exchange.KindOf(err) != exchange.KindMisconfigured || !c.Value.IsZero() || c.RevokeWith.IsZero() {
		t.Fatalf("%v", err)
	}
	if err := d.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil || y.tokens(t) != 0 {
		t.Errorf("%v", err)
	}
}

// TestS26NeverToAnotherVault: what was kept with a lease goes to where it came from.
func TestS26NeverToAnotherVault(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	c := y.must(t, s)
	moved := *s
	moved.Namespace = "elsewhere"
	d := y.driver(t, &moved)
	calls := y.Calls()
	_, renewErr := d.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour))
	for _, err := range []error{d.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith), renewErr} {
		if exchange.KindOf(err) != exchange.KindMisconfigured {
			t.Errorf("%v", err)
		}
	}
	if y.Calls() != calls {
		t.Error("the other was called")
	}
}

// authority mounts a PKI engine whose certificates live as is asked, up to an hour.
func (y *yard) authority(t *testing.T, leases bool) *vault.Settings {
	t.Helper()
	mount := y.name + "-pki"
	y.write(t, "sys/mounts/"+mount, map[string]any{"type": "pki"})
	y.write(t, path.Join(mount, "root", "generate", "internal"), map[string]any{"common_name": "root of the test", "ttl": "24h", "key_type": "ec", "key_bits": 256})
	y.write(t, mount+"/roles/web", map[string]any{
		"allow_any_name": true, "max_ttl": "1h", "ttl": "1h", "key_type": "ec", "key_bits": 256, "generate_lease": leases, "no_store": false,
	})
	y.policy(t, fmt.Sprintf(`path "%s/issue/web" { capabilities = ["create", "update"] }`, mount))
	return y.settings(mount+"/issue/web", func(s *vault.Settings) {
		s.Kind, s.Method, s.TTLParameter = vault.KindDynamic, vault.WritePath, "ttl"
		s.Parameters = map[string]string{"common_name": "gateway.example", "alt_names": "a.example,b.example"}
	})
}

// TestPKI: a certificate lives as long as the exchange may give, by the engine's own
// parameter, and nothing takes it back.
func TestPKI(t *testing.T) {
	y := newYard(t)
	s := y.authority(t, false)
	g := y.grant(t, s, within(10*time.Minute))
	c, err := y.driver(t, s).Vend(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, c.Value.Reveal())
	if h.LeaseID != "" || !strings.HasPrefix(fmt.Sprint(h.Data["certificate"]), "-----BEGIN CERTIFICATE-----") || h.Data["private_key"] == nil {
		t.Errorf("a lease %q, and %d fields", h.LeaseID, len(h.Data))
	}
	if c.Expires.After(g.NotAfter) || g.NotAfter.Sub(c.Expires) > 10*time.Second || !c.RevokeWith.IsZero() || y.tokens(t) != 0 {
		t.Errorf("until %v, the cap is %v; %d logins live", c.Expires, g.NotAfter, y.tokens(t))
	}
	s.TTLParameter = ""
	if _, err := y.vend(t, s, within(10*time.Minute)); exchange.KindOf(err) != exchange.KindInvalidLifetime || !strings.Contains(err.Error(), "ttl_parameter") {
		t.Errorf("an hour where ten minutes are left: %v", err)
	}
	s.MayOutlive = true
	if c, err := y.vend(t, s, within(10*time.Minute)); err != nil || c.Expires.Sub(c.Issued) < 50*time.Minute {
		t.Errorf("%v", err)
	}
}

// TestLeaseThatCannotBeRenewed: such leases are cut by the engine's parameter or not at
// all, and say so to who renews.
func TestLeaseThatCannotBeRenewed(t *testing.T) {
	y := newYard(t)
	s := y.authority(t, true)
	c := y.must(t, s)
	if h := open(t, c.Value.Reveal()); h.LeaseID == "" || h.Renewable {
		t.Fatalf("lease %q, renewable %t", h.LeaseID, h.Renewable)
	}
	_, err := y.driver(t, s).(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(30*time.Minute))
	if exchange.KindOf(err) != exchange.KindProviderRefused || !strings.Contains(err.Error(), "cannot be renewed") {
		t.Errorf("%v", err)
	}
	s.TTLParameter = ""
	if _, err := y.vend(t, s); exchange.KindOf(err) != exchange.KindInvalidLifetime {
		t.Errorf("%v", err)
	}
}

// TestWrappedDatabase: the holder alone unwraps, and the revocation reaches what it
// took out, by the login.
func TestWrappedDatabase(t *testing.T) {
	y := newYard(t)
	s, d := y.database(t)
	s.Wrap = 2 * time.Minute
	c := y.must(t, s)
	if c.IssuedType != vault.TokenTypeWrapping || c.Expires.Sub(c.Issued) > 15*time.Minute {
		t.Errorf("%s, lives %v", c.IssuedType, c.Expires.Sub(c.Issued))
	}
	data, err := y.unwrap(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(t.Context(), d, data); err != nil {
		t.Fatal(err)
	}
	driver := y.driver(t, s)
	if _, err := driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour)); exchange.KindOf(err) != exchange.KindProviderRefused {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
			t.Fatal(err)
		}
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for connect(t.Context(), d, data) == nil {
		<-look.C
	}
}

// unwrap is what a holder does with a wrapping token.
func (y *yard) unwrap(t *testing.T, c exchange.Credential) (map[string]any, error) {
	t.Helper()
	holder := *y.bao
	holder.Token = c.Value.Reveal()
	a, err := holder.Try(t.Context(), y.namespace, http.MethodPost, "sys/wrapping/unwrap", nil)
	if err != nil {
		return nil, err
	}
	data, _ := a["data"].(map[string]any)
	return data, nil
}
