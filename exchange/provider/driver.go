package provider

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Driver vends credentials for one configured target.
//
// It returns its failures as *exchange.Error of KindProviderRefused (the provider
// said no), KindMisconfigured (the operator must change the setting that Advice
// names), KindThrottled or KindUnavailable; anything else becomes internal. The
// context always has a deadline.
type Driver interface {
	Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error)
}

// LocalDriver marks a driver whose credentials are of our own making: nothing is
// left outside when one is dropped, so one commit is enough.
type LocalDriver interface {
	Driver
	Local()
}

// Revoker is a driver that can take back what it vended.
type Revoker interface {
	// Revoke ends the credential that RevokeWith stands for. Revoking what is gone
	// already is success. What nobody can take back from whoever has it is
	// exchange.ErrHandedOut.
	Revoke(ctx context.Context, target *exchange.Target, revokeWith exchange.Secret) error
}

// Renewer is a driver that can make what it vended live longer, without a new
// value.
type Renewer interface {
	// Renew asks that the credential live until then, no longer, and returns until
	// when it does: less where the provider gives less. KindProviderRefused says that
	// it cannot be renewed, or no further.
	Renew(ctx context.Context, target *exchange.Target, revokeWith exchange.Secret, until time.Time) (expires time.Time, err error)
}

// Recoverer is a driver that can find and end whatever one exchange minted, when
// the answer to the mint was lost.
type Recoverer interface {
	Recover(ctx context.Context, target *exchange.Target, id exchange.ID) error
}

// Signer is a driver that signs requests under a session that it vended, and had the
// house hold (S25).
type Signer interface {
	// Sign returns the headers to send with the request, by name. A request that the
	// target's settings do not let through, or that could be read in two ways, is an
	// *exchange.Error of KindInvalidRequest or KindPermissionDenied.
	Sign(ctx context.Context, target *exchange.Target, snapshot exchange.Secret, r exchange.SignRequest) (headers map[string]string, err error)
}

// Sessions holds signing sessions.
type Sessions interface {
	// Hold keeps what signs until the session expires; nil means: durable. token is
	// what the caller must show. The session's id must become the credential's Lease.
	Hold(ctx context.Context, s exchange.Session, token, snapshot exchange.Secret) error
	// Held returns what signs of a session that has not expired, and until when. One
	// that is gone is an *exchange.Error of KindNotFound.
	Held(ctx context.Context, tenant string, id exchange.ID) (snapshot exchange.Secret, expires time.Time, err error)
	// Replace puts a snapshot in the place of was, whole, and returns until when the
	// session lives: by another's snapshot, where that came first. One that is gone is
	// an *exchange.Error of KindNotFound.
	Replace(ctx context.Context, tenant string, id exchange.ID, was, snapshot exchange.Secret, expires time.Time) (time.Time, error)
	// End forgets a session. One that is gone already is success.
	End(ctx context.Context, tenant string, id exchange.ID) error
}

// Checker proves that the provider's side is set up, without handing anything
// out.
type Checker interface {
	Check(ctx context.Context) error
}

// Config is the decoded settings of one target.
type Config interface {
	// Open makes the driver. It does no network.
	Open(d Deps) (Driver, error)
	// Facts says what the core must know of these settings.
	Facts() exchange.Facts
	// Validate returns every fault in the settings, each naming its field.
	Validate() []error
}

// Deps is what the house lends a driver.
type Deps struct {
	HTTP *http.Client // bounded, refuses redirects, restricted by host (S24)
	// Client makes another client like HTTP, which shows a certificate that it asks for
	// at each handshake (RFC 8705 §2); nil: none can be had.
	Client   func(certificate func() (*tls.Certificate, error)) (*http.Client, error)
	Asserter Asserter
	Minter   Minter
	Granter  Granter  // nil: identity assertion grants are not made
	Sessions Sessions // nil: none are held
	// Secret gives the secret that a setting names, for sending to that host and no
	// other (S20); a host that cambio.yaml does not list for it is an error.
	Secret func(ref SecretRef, host string) (exchange.Secret, error)
	Now    func() time.Time
	Random io.Reader
}

// SecretRef is a setting that names a secret of cambio.yaml: the whole value is
// ${secret:NAME}. A secret itself never stands in a policy.
type SecretRef string

// Name is the secret's name; false: the value is no reference.
func (r SecretRef) Name() (string, bool) {
	name, ok := strings.CutPrefix(string(r), "${secret:")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, "}")
}

// Asserter mints federation assertions (S1, S2).
type Asserter interface {
	Assert(ctx context.Context, a exchange.Assertion) (exchange.Secret, error)
}

// Minter signs access tokens of the issuer.
type Minter interface {
	Mint(ctx context.Context, t exchange.AccessToken) (exchange.Secret, error)
}

// Granter signs the issuer's identity assertion grants for other authorization
// servers.
type Granter interface {
	MintIDJAG(ctx context.Context, g exchange.IDJAG) (exchange.Secret, error)
}
