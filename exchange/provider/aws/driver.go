package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// slack is taken off every session, since STS counts from its own now, which is
// later than ours and on another clock: a session of exactly the rest would outlive
// its caps (S5). leastSlack leaves room for the way to STS besides.
const (
	slack      = 30 * time.Second
	leastSlack = time.Minute
)

type driver struct {
	settings Settings // with their defaults
	asserter provider.Asserter
	now      func() time.Time
	host     string      // of STS, without port
	anyone   *sts.Client // asks without credentials
	ambient  *ambient
	signer   *v4.Signer
}

func newDriver(s Settings, d provider.Deps) (*driver, error) {
	endpoint, host, err := endpointOf(s)
	if err != nil {
		return nil, err
	}
	options := clientOptions(s.Region, endpoint, d.HTTP, d.Now)
	anonymous := options
	anonymous.Credentials = aws.AnonymousCredentials{}
	return &driver{
		settings: s, asserter: d.Asserter, now: d.Now, host: host,
		anyone: sts.New(anonymous), ambient: &ambient{options: options}, signer: v4.NewSigner(),
	}, nil
}

// endpointOf is the address of STS, and its host. By default it is the region's: the
// global one is far, and down with one region.
func endpointOf(s Settings) (endpoint, host string, err error) {
	endpoint = s.Endpoint
	if endpoint == "" {
		resolved, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sts.EndpointParameters{Region: &s.Region})
		if err != nil {
			return "", "", fmt.Errorf("region: finding its STS: %w", err)
		}
		endpoint = resolved.URI.String()
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", errors.New("endpoint: it is no URL")
	}
	return endpoint, u.Hostname(), nil
}

// ask is one session as it is wanted.
type ask struct {
	name     string
	seconds  int32
	tags     []types.Tag
	identity string // empty: none
	policy   sessionPolicy
}

// Vend asks STS for one session.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	life, err := d.lifetime(&g)
	if err != nil {
		return exchange.Credential{}, err
	}
	a, err := d.prepare(&g, life)
	if err != nil {
		return exchange.Credential{}, misconfigured(err)
	}
	var session *types.Credentials
	switch d.settings.Method {
	case MethodPassthrough:
		session, err = d.passthrough(ctx, &g, a)
	case MethodAssumeRole:
		session, err = d.assumeRole(ctx, a)
	default:
		session, err = d.webIdentity(ctx, &g, a)
	}
	if err != nil {
		return exchange.Credential{}, err
	}
	if err := d.usable(session); err != nil {
		return exchange.Credential{}, err
	}
	if d.settings.Format == FormatBedrockKey {
		return d.bedrockKey(ctx, &g, session)
	}
	return d.credentials(&g, session)
}

// lifetime is how long a session to ask for.
func (d *driver) lifetime(g *exchange.Grant) (time.Duration, error) {
	rest := g.NotAfter.Sub(d.now())
	wished := rest
	if g.Lifetime > 0 && g.Lifetime < rest {
		wished = g.Lifetime
	}
	if rest < time.Second {
		return 0, exchange.Fault(exchange.KindInvalidLifetime, "the token you brought is about to expire: bring a fresh one", nil)
	}
	if d.settings.Format == FormatBedrockKey { // the key is cut to size, not the session
		return min(max(wished+slack, minSession), d.settings.MaxSession).Truncate(time.Second), nil
	}
	life := wished - slack
	if life < minSession {
		if !d.settings.MayOutlive {
			return 0, exchange.Fault(exchange.KindInvalidLifetime,
				"AWS gives no session under 15 minutes: ask for 16 or more, or bring a token that lives longer", nil)
		}
		life = minSession
	}
	return min(life, d.settings.MaxSession).Truncate(time.Second), nil
}

// prepare resolves the settings for a grant.
func (d *driver) prepare(g *exchange.Grant, life time.Duration) (ask, error) {
	a := ask{name: d.settings.SessionPrefix + "-" + g.Exchange.String(), seconds: int32(life / time.Second)}
	var err error
	if a.tags, err = d.settings.tagsFor(g); err != nil {
		return ask{}, err
	}
	if source := d.settings.SourceIdentity; source != nil {
		text, err := source.text(g)
		if err == nil {
			a.identity, err = identity(text)
		}
		if err != nil {
			return ask{}, fmt.Errorf("source_identity: %w", err)
		}
	}
	if a.policy, err = d.settings.policyFor(g.Scopes); err != nil {
		return ask{}, fmt.Errorf("policy: %w", err)
	}
	return a, nil
}

// usable looks at what STS calls credentials.
func (d *driver) usable(c *types.Credentials) error {
	missing := ""
	switch {
	case c == nil, aws.ToString(c.AccessKeyId) == "", aws.ToString(c.SecretAccessKey) == "", aws.ToString(c.SessionToken) == "":
		missing = "an answer without credentials"
	case c.Expiration == nil:
		missing = "credentials without an expiry"
	case !c.Expiration.After(d.now()):
		missing = "credentials that have expired already"
	default:
		return nil
	}
	return unusable(fmt.Errorf("endpoint: %s sent %s: is it an STS, and is the clock right?", d.host, missing))
}

// document is what `credential_process` prints.
type document struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func (d *driver) credentials(g *exchange.Grant, c *types.Credentials) (exchange.Credential, error) {
	expires := c.Expiration.UTC().Truncate(time.Second)
	value, err := json.Marshal(document{1, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken, expires.Format(time.RFC3339)})
	if err != nil {
		return exchange.Credential{}, fmt.Errorf("writing the credentials: %w", err)
	}
	return exchange.Credential{
		Value: exchange.NewSecret(string(value)), TokenType: "N_A", IssuedType: TokenTypeCredentials,
		Issued: d.now(), Expires: expires, Scopes: g.Scopes, Handle: *c.AccessKeyId,
	}, nil
}
