package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Defaults of Options.
const (
	DefaultAccessAlgorithm     = "ES256"
	DefaultFederationAlgorithm = "RS256" // AWS and OCI take no other
	DefaultRotate              = 30 * 24 * time.Hour
	MinRotate                  = time.Hour
)

// Options say what an Issuer works with.
type Options struct {
	// URL is the access-token issuer; URL + "/federation" is the other. https, or
	// http on a loopback host; no query, no fragment, no trailing slash.
	URL    string
	Keys   Keys
	Sealer *exchange.Sealer
	Now    func() time.Time
	Random io.Reader // safe for concurrent use

	// ES256, RS256 or EdDSA; empty: the defaults.
	AccessAlgorithm     string
	FederationAlgorithm string
	// Rotate is the age at which a key is followed by another; zero: DefaultRotate;
	// at least MinRotate.
	Rotate time.Duration
	// StandIns are host names that may be sent an assertion with a vendor's fixed
	// audience besides that vendor's own (S2).
	StandIns []string
	// Report is told what is wrong with stored keys and with reading them; nil:
	// nobody is.
	Report func(error)
}

// Issuer signs. It is safe for concurrent use.
type Issuer struct {
	url      string
	keys     Keys
	sealer   *exchange.Sealer
	now      func() time.Time
	random   io.Reader
	rotate   time.Duration
	standIns map[string]bool
	report   func(error)

	access     ring
	federation ring

	refreshing sync.Mutex
	refused    map[string]bool // rows reported already
}

// ring is the keys of one purpose.
type ring struct {
	purpose   string
	algorithm string
	longest   time.Duration // life of what its keys sign
	current   atomic.Pointer[snapshot]
}

// snapshot is what one reading of the keys found.
type snapshot struct {
	keys []*signingKey // by SignAt, oldest first
	jwks []byte
	// until is when a key that this reading has not seen may begin to sign.
	until time.Time
}

// The purposes of keys, as stored.
const (
	purposeAccess     = "access"
	purposeFederation = "federation"
)

// Open reads the keys, and makes them where there are none.
func Open(ctx context.Context, o Options) (*Issuer, error) {
	i, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if err := i.Refresh(ctx); err != nil {
		return nil, err
	}
	return i, nil
}

// prepare checks the options and touches no key.
func prepare(o Options) (*Issuer, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if o.Rotate == 0 {
		o.Rotate = DefaultRotate
	}
	if o.Rotate < MinRotate {
		return nil, fmt.Errorf("keys.rotate: %v is too often: at least %v, so that each key can be published before it signs", o.Rotate, MinRotate)
	}
	i := &Issuer{
		url: o.URL, keys: o.Keys, sealer: o.Sealer, now: o.Now, random: o.Random, rotate: o.Rotate,
		standIns: map[string]bool{}, report: o.Report, refused: map[string]bool{},
		access:     ring{purpose: purposeAccess, algorithm: o.AccessAlgorithm, longest: exchange.MaxAccessTokenLifetime},
		federation: ring{purpose: purposeFederation, algorithm: o.FederationAlgorithm, longest: exchange.MaxAssertionLifetime},
	}
	if i.access.algorithm == "" {
		i.access.algorithm = DefaultAccessAlgorithm
	}
	if i.federation.algorithm == "" {
		i.federation.algorithm = DefaultFederationAlgorithm
	}
	for _, r := range i.rings() {
		if _, ok := generators[r.algorithm]; !ok {
			return nil, fmt.Errorf("keys.%s: %q is not an algorithm that keys are made for: use ES256, RS256 or EdDSA", r.purpose, r.algorithm)
		}
	}
	for _, host := range o.StandIns {
		i.standIns[strings.ToLower(host)] = true
	}
	if i.report == nil {
		i.report = func(error) {}
	}
	return i, nil
}

func (i *Issuer) rings() []*ring { return []*ring{&i.access, &i.federation} }

// URL is the issuer of access tokens.
func (i *Issuer) URL() string { return i.url }

// FederationURL is the issuer of assertions.
func (i *Issuer) FederationURL() string { return i.url + "/federation" }

// Names are both issuers: no trust may name one (S7).
func (i *Issuer) Names() []string { return []string{i.URL(), i.FederationURL()} }

// checkURL holds an issuer to RFC 8414 §2 and to one spelling.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("give the https URL that the world knows this service by")
	case err != nil || u.Host == "" || u.Opaque != "" || u.User != nil:
		return fmt.Errorf("%q is not an absolute URL", s)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return fmt.Errorf("%q has a query or a fragment: leave it out (RFC 8414 §2)", s)
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("%q ends in a slash: leave it out, since issuers are compared to the byte", s)
	case u.String() != s || strings.ToLower(u.Host) != u.Host:
		return fmt.Errorf("%q is not in canonical form: write scheme and host in lower case", s)
	case u.Scheme != "https" && !(u.Scheme == "http" && exchange.LoopbackHost(u.Hostname())):
		return fmt.Errorf("%q must be https; plain http is for loopback hosts only", s)
	}
	return nil
}
