package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// snapshot is what revokes or renews; the house keeps it sealed with the lease (S26).
type snapshot struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	Token     string `json:"token,omitempty"` // the login that the lease hangs on
	// LoginEnds is when the login ends, where nobody can change that.
	LoginEnds time.Time `json:"login_ends,omitzero"`
	Lease     string    `json:"lease,omitempty"`    // empty: nothing but the login is known
	Wrapping  string    `json:"wrapping,omitempty"` // what was handed out in the value's stead
	Read      string    `json:"read,omitempty"`     // the exchange that read a static value
}

func (c *core) seal(s snapshot) exchange.Secret {
	s.Address, s.Namespace = c.settings.Address, c.settings.Namespace
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of strings
	}
	return exchange.NewSecret(string(text))
}

// open reads a snapshot. A token goes to the Vault that gave it and to no other.
func (c *core) open(with exchange.Secret) (snapshot, error) {
	var s snapshot
	if err := json.Unmarshal([]byte(with.Reveal()), &s); err != nil {
		return snapshot{}, errors.New("what was kept with the lease cannot be read")
	}
	if s.Address != c.settings.Address || s.Namespace != c.settings.Namespace {
		return snapshot{}, exchange.Fault(exchange.KindMisconfigured, "the target's address or namespace is another than when this was minted: end it there, or set them back",
			fmt.Errorf("it was minted at %s in the namespace %q", s.Address, s.Namespace))
	}
	return s, nil
}

// Revoke ends the lease, then the login that it hangs on. A login's end takes its
// leases with it, but Vault comes to that later: the lease is first, and waited for,
// where the role's policies let it be.
func (d *dynamic) Revoke(ctx context.Context, _ *exchange.Target, with exchange.Secret) error {
	s, err := d.open(with)
	if err != nil {
		return err
	}
	if s.Wrapping != "" {
		if _, err := d.unwrap(ctx, exchange.NewSecret(s.Wrapping)); err != nil {
			return err
		}
	}
	token, ended := exchange.NewSecret(s.Token), false
	if s.Lease != "" {
		if ended, err = d.endLease(ctx, token, s.Lease); err != nil {
			return err
		}
	}
	if err := d.logout(ctx, token); err != nil && !ended {
		return err
	}
	return nil
}

// endLease reports whether Vault has ended the lease; false: this login may not ask for
// it, or is dead.
func (d *dynamic) endLease(ctx context.Context, token exchange.Secret, id string) (bool, error) {
	a, err := d.wire.ask(ctx, call{
		method: http.MethodPost, path: "sys/leases/revoke", token: token, body: map[string]any{"lease_id": id, "sync": true},
	})
	switch {
	case err != nil:
		return false, err
	case a.Status < 300:
		return true, nil
	case a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		return false, nil
	}
	return false, a.Fault(exchange.KindUnavailable, "Vault could not end the lease; try again")
}

// unwrap uses a wrapping token up, and reports whether nobody had. What was in it is
// dropped.
func (c *core) unwrap(ctx context.Context, token exchange.Secret) (bool, error) {
	a, err := c.wire.ask(ctx, call{method: http.MethodPost, path: "sys/wrapping/unwrap", token: token})
	switch {
	case err != nil:
		return false, err
	case a.Status < 300:
		return true, nil
	case a.Status == http.StatusBadRequest, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		return false, nil
	}
	return false, a.Fault(exchange.KindProviderRefused, "Vault did not take the wrapping token back")
}

// Renew makes the lease live until then, and the login that it hangs on as long.
func (d *dynamic) Renew(ctx context.Context, _ *exchange.Target, with exchange.Secret, until time.Time) (time.Time, error) {
	s, err := d.open(with)
	if err != nil {
		return time.Time{}, err
	}
	if s.Lease == "" {
		return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "the lease is known only to whoever unwrapped it", nil)
	}
	lives := until.Sub(d.now()).Truncate(time.Second)
	if lives < time.Second {
		return time.Time{}, exchange.Fault(exchange.KindInvalidLifetime, "there is no life left to give", nil)
	}
	l := login{token: exchange.NewSecret(s.Token), ends: s.LoginEnds, renewable: s.LoginEnds.IsZero()}
	if l, err = d.prolong(ctx, l, lives); err != nil {
		return time.Time{}, err
	}
	ends, err := d.renewLease(ctx, l.token, s.Lease, lives)
	if err != nil {
		return time.Time{}, err
	}
	if !l.ends.IsZero() && l.ends.Before(ends) {
		ends = l.ends
	}
	return ends, nil
}

// renewLease sets the life of a lease from now on, longer or shorter, as far as the
// engine allows, and returns when it ends.
func (d *dynamic) renewLease(ctx context.Context, token exchange.Secret, id string, lives time.Duration) (time.Time, error) {
	begun := d.now()
	a, err := d.wire.ask(ctx, call{
		method: http.MethodPost, path: "sys/leases/renew", token: token,
		body: map[string]any{"lease_id": id, "increment": int64(lives / time.Second)},
	})
	if err != nil {
		return time.Time{}, err
	}
	if a.Status != http.StatusOK {
		return time.Time{}, d.leaseRefused(a)
	}
	var said answer
	if err := a.Decode(&said); err != nil {
		return time.Time{}, err
	}
	given, err := life(a, said.LeaseDuration)
	if err != nil {
		return time.Time{}, err
	}
	if given == 0 {
		return time.Time{}, a.Fault(exchange.KindProviderRefused, "Vault gives the lease no life: it has reached its longest")
	}
	return begun.Add(given), nil
}
