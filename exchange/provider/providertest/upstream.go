package providertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Upstream is a provider outside: a bank in memory whose credentials exist from the
// moment it mints them until they expire or are revoked, whoever heard of them. It
// is settings and driver at once, so that a target can hold it, and it counts what
// it is asked.
//
// It verifies as a provider would: one account for each exchange, a life that is
// not past what was asked, and a deadline on every call.
type Upstream struct {
	// Offers are the facts of the target.
	Offers exchange.Facts
	// Now is the bank's clock.
	Now func() time.Time
	// Life, if set, is how long a credential lives whatever is asked: a provider
	// with a fixed lifetime.
	Life time.Duration

	// Before, if set, runs before anything is minted: what it returns is the answer.
	// It may wait for ctx.
	Before func(ctx context.Context, g exchange.Grant) error
	// After, if set, runs when the credential exists: it may bend what is told of
	// it, or lose the answer by an error.
	After func(ctx context.Context, g exchange.Grant, c *exchange.Credential) error
	// RevokeFails, if set, is what revocations and recoveries answer.
	RevokeFails error
	// RenewFails, if set, is what renewals answer, and MostRenewed how far from the
	// opening of an account it goes; zero: as far as is asked.
	RenewFails  error
	MostRenewed time.Duration

	mu        sync.Mutex
	accounts  []*Account
	calls     int
	revokes   int
	recovered int
}

// Account is one credential at the bank.
type Account struct {
	Exchange exchange.ID
	Subject  string
	Scopes   []string
	Opened   time.Time
	Expires  time.Time
	Revoked  bool
	value    exchange.Secret
	revoke   exchange.Secret
}

// Open returns the bank itself.
func (u *Upstream) Open(provider.Deps) (provider.Driver, error) { return u, nil }

// Facts are Offers.
func (u *Upstream) Facts() exchange.Facts { return u.Offers }

// Validate finds nothing.
func (u *Upstream) Validate() []error { return nil }

// Vend opens an account.
func (u *Upstream) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return exchange.Credential{}, errors.New("the bank was called without a deadline")
	}
	u.mu.Lock()
	u.calls++
	u.mu.Unlock()
	if u.Before != nil {
		if err := u.Before(ctx, g); err != nil {
			return exchange.Credential{}, err
		}
	}
	c, err := u.open(g)
	if err != nil {
		return exchange.Credential{}, err
	}
	if u.After != nil {
		if err := u.After(ctx, g, &c); err != nil {
			return exchange.Credential{}, err
		}
	}
	return c, nil
}

func (u *Upstream) open(g exchange.Grant) (exchange.Credential, error) {
	now := u.Now()
	expires := now.Add(g.Lifetime)
	if g.NotAfter.Before(expires) {
		expires = g.NotAfter
	}
	if u.Life > 0 {
		expires = now.Add(u.Life)
	}
	if !expires.After(now) {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime, "bring a token that lives longer", nil)
	}
	a := &Account{
		Exchange: g.Exchange, Subject: g.Subject.Name, Scopes: slices.Clone(g.Scopes), Opened: now, Expires: expires,
		value: exchange.NewSecret("bank-" + rand.Text()), revoke: exchange.NewSecret("revoke-" + rand.Text()),
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, other := range u.accounts {
		if other.Exchange == g.Exchange {
			return exchange.Credential{}, fmt.Errorf("exchange %s has an account already", g.Exchange)
		}
	}
	u.accounts = append(u.accounts, a)
	return exchange.Credential{
		Value: a.value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken, Issued: now, Expires: expires,
		Scopes: a.Scopes, Handle: fmt.Sprintf("account-%d", len(u.accounts)), RevokeWith: a.revoke,
	}, nil
}

// Revoke closes the account that with belongs to.
func (u *Upstream) Revoke(ctx context.Context, _ *exchange.Target, with exchange.Secret) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("the bank was called without a deadline")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.revokes++
	if u.RevokeFails != nil {
		return u.RevokeFails
	}
	for _, a := range u.accounts {
		if a.revoke.Equal(with) {
			a.Revoked = true
		}
	}
	return nil
}

// Renew lets the account that with belongs to live until then, if it lives now.
func (u *Upstream) Renew(ctx context.Context, _ *exchange.Target, with exchange.Secret, until time.Time) (time.Time, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return time.Time{}, errors.New("the bank was called without a deadline")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.RenewFails != nil {
		return time.Time{}, u.RenewFails
	}
	for _, a := range u.accounts {
		if !a.revoke.Equal(with) {
			continue
		}
		if a.Revoked || !a.Expires.After(u.Now()) {
			return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "", errors.New("the account is closed"))
		}
		if u.MostRenewed > 0 && until.After(a.Opened.Add(u.MostRenewed)) {
			until = a.Opened.Add(u.MostRenewed)
		}
		a.Expires = until
		return until, nil
	}
	return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "", errors.New("the bank knows no such account"))
}

// Recover closes whatever the exchange opened.
func (u *Upstream) Recover(ctx context.Context, _ *exchange.Target, id exchange.ID) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("the bank was called without a deadline")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.recovered++
	if u.RevokeFails != nil {
		return u.RevokeFails
	}
	for _, a := range u.accounts {
		if a.Exchange == id {
			a.Revoked = true
		}
	}
	return nil
}

// Use says whether the bank would honour a credential now, and for whom.
func (u *Upstream) Use(value exchange.Secret) (subject string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.accounts {
		if !a.value.Equal(value) {
			continue
		}
		switch {
		case a.Revoked:
			return "", errors.New("the credential is revoked")
		case !a.Expires.After(u.Now()):
			return "", errors.New("the credential has expired")
		}
		return a.Subject, nil
	}
	return "", errors.New("the bank knows no such credential")
}

// Accounts are copies of all accounts, oldest first.
func (u *Upstream) Accounts() []Account {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Account, 0, len(u.accounts))
	for _, a := range u.accounts {
		all = append(all, *a)
	}
	return all
}

// Live are the exchanges whose credentials the bank would honour now.
func (u *Upstream) Live() []exchange.ID {
	var live []exchange.ID
	for _, a := range u.Accounts() {
		if !a.Revoked && a.Expires.After(u.Now()) {
			live = append(live, a.Exchange)
		}
	}
	return live
}

// Calls is how often the bank was asked to vend.
func (u *Upstream) Calls() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls
}

// Revocations is how often it was asked to revoke one credential.
func (u *Upstream) Revocations() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.revokes
}

// Recoveries is how often it was asked to end what an exchange minted.
func (u *Upstream) Recoveries() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.recovered
}
