package vault_test

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

// saying answers logins well, and everything else with what it is told.
type saying struct {
	status int
	body   string
}

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s.status, s.body
	if strings.HasPrefix(r.URL.Path, "/v1/auth/") {
		status, body = http.StatusOK, `{"auth": {"client_token": "login-of-the-test", "lease_duration": 3600, "renewable": true}}`
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// FuzzAnswer: whatever Vault answers is a credential within the contract, or an error;
// and the login is in neither.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"request_id": "r", "data": {"data": {"key": "value"}, "metadata": {"version": 1}}}`,
		`{"lease_id": "database/creds/app/x", "lease_duration": 600, "renewable": true, "data": {"username": "u", "password": "p"}}`,
		`{"data": {"expiration": 1900000000, "certificate": "x"}}`, `{"wrap_info": {"token": "w", "ttl": 60, "accessor": "a"}}`,
		`{"data": {"data": null, "metadata": {}}}`, `{"errors": ["permission denied"]}`, `{"data": {"expiration": 1e400}}`, `[]`, `{`, ``,
		`{"lease_id": "x", "lease_duration": 99999999999, "data": {}}`,
	} {
		for _, status := range []int{200, 403, 404, 500} {
			f.Add(status, body, uint8(0))
			f.Add(status, body, uint8(1))
			f.Add(status, body, uint8(2))
			f.Add(status, body, uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string, kind uint8) {
		if status < 200 || status > 599 {
			return
		}
		s := vault.Settings{
			Address: "https://vault.example", Path: "secret/data/x", MayOutlive: true,
			Auth: vault.Auth{Method: vault.MethodAppRole, RoleID: "x", SecretID: "${secret:x}"},
		}
		if kind&1 != 0 {
			s.Kind, s.Path, s.MayOutlive = vault.KindDynamic, "database/creds/x", false
		}
		if kind&2 != 0 {
			s.Wrap = time.Minute
		}
		d, err := s.Open(provider.Deps{
			HTTP: &http.Client{Transport: saying{status, body}}, Now: time.Now, Random: rand.Reader,
			Secret: func(provider.SecretRef, string) (exchange.Secret, error) {
				return exchange.NewSecret("secret-of-the-test"), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		g := exchange.Grant{Tenant: "default", Target: &exchange.Target{Name: "x"}, Now: now, Lifetime: time.Hour, NotAfter: now.Add(time.Hour)}
		c, err := d.Vend(context.Background(), g)
		if err != nil {
			if !c.Value.IsZero() || strings.Contains(err.Error(), "login-of-the-test") || strings.Contains(err.Error(), "secret-of-the-test") {
				t.Error("a credential or a secret came with the error")
			}
			return
		}
		if c.Value.IsZero() || c.TokenType != "N_A" || c.IssuedType == "" || c.Handle == "" || len(c.Handle) > 256 || len(c.Value.Reveal()) > 64<<10 ||
			!s.MayOutlive && c.Expires.After(g.NotAfter) || strings.Contains(c.Value.Reveal(), "login-of-the-test") {
			t.Errorf("handle %q, until %v", c.Handle, c.Expires)
		}
		if r, ok := d.(provider.Renewer); ok && !c.RevokeWith.IsZero() {
			_, _ = r.Renew(context.Background(), nil, c.RevokeWith, now.Add(time.Hour))
			_ = d.(provider.Revoker).Revoke(context.Background(), nil, c.RevokeWith)
		}
	})
}
