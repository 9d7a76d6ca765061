package aws_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	issuer  = "https://cambio.example/federation"
	account = awssandbox.DefaultAccount
	region  = awssandbox.DefaultRegion
	small   = "anthropic.claude-haiku-4-5-20251001-v1:0"
	large   = "anthropic.claude-opus-4-5-20251101-v1:0"
)

// asserter is a federation issuer: it signs what the issuer's own does.
type asserter struct {
	key  *ecdsa.PrivateKey
	kid  string
	keys atomic.Pointer[[]byte] // as published

	mu   sync.Mutex
	last exchange.Assertion
}

func newAsserter(t *testing.T) *asserter {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &asserter{key: key, kid: "k1"}
	a.publish(t, a.key)
	return a
}

// publish makes a key the one that the issuer shows; nil: it cannot be reached.
func (a *asserter) publish(t *testing.T, key *ecdsa.PrivateKey) {
	t.Helper()
	var set []byte
	if key != nil {
		var err error
		set, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: a.kid, Algorithm: "ES256", Use: "sig"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	a.keys.Store(&set)
}

func (a *asserter) published() []byte { return *a.keys.Load() }

func (a *asserter) Assert(_ context.Context, as exchange.Assertion) (exchange.Secret, error) {
	a.mu.Lock()
	a.last = as
	a.mu.Unlock()
	claims := map[string]any{
		"iss": issuer, "aud": as.Audience, "iat": as.Issued.Unix(), "exp": as.Expires.Unix(), "jti": rand.Text(),
		"sub": exchange.CanonicalName("", append([]string{as.Tenant, as.Target}, as.Values...)...)[1:],
	}
	maps.Copy(claims, as.Claims)
	text, err := a.sign(claims)
	return exchange.NewSecret(text), err
}

func (a *asserter) sign(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.kid}}, nil)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// yard is an account at the sandbox, and what a driver needs to get there.
type yard struct {
	*awssandbox.Server
	issuer *asserter
	web    *httptest.Server
	deps   provider.Deps
}

// newYard opens the account; adapt may change how it is set up.
func newYard(t *testing.T, adapt func(*awssandbox.Setup)) *yard {
	t.Helper()
	y := &yard{issuer: newAsserter(t)}
	setup := awssandbox.Setup{
		SingleUse: true,
		Roles:     []awssandbox.Role{{Name: "llm", Trust: trustOf(awssandbox.DefaultAudience, "default:suite", true), MaxSession: 4 * time.Hour}},
	}
	if adapt != nil {
		adapt(&setup)
	}
	var err error
	y.Server, err = awssandbox.New(sandbox.World{Issuer: issuer, Keys: y.issuer.published, Now: time.Now, Random: rand.Reader}, setup)
	if err != nil {
		t.Fatal(err)
	}
	y.web = httptest.NewTLSServer(y.Server)
	t.Cleanup(y.web.Close)
	client := y.web.Client()
	client.Timeout = 10 * time.Second
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirects are refused") }
	y.deps = provider.Deps{HTTP: client, Asserter: y.issuer, Now: time.Now, Random: rand.Reader}
	return y
}

func trustOf(audience, sub string, session bool) string {
	return awssandbox.WebIdentityTrust(account, issuer, audience, sub, session)
}

// settings are good ones, which point at the yard.
func (y *yard) settings() *aws.Settings {
	return &aws.Settings{
		RoleARN: "arn:aws:iam::" + account + ":role/llm", Region: region, Endpoint: y.web.URL, MaxSession: 4 * time.Hour,
		Tags: map[string]aws.Source{"subject": {From: "subject"}},
	}
}

func (y *yard) open(t *testing.T, s *aws.Settings) provider.Driver {
	t.Helper()
	if faults := s.Validate(); len(faults) > 0 {
		t.Fatalf("the settings have faults: %v", faults)
	}
	d, err := s.Open(y.deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// grant is a good one for an hour.
func grant(t *testing.T, s *aws.Settings, subject string) exchange.Grant {
	t.Helper()
	now := time.Now()
	id, err := exchange.NewID(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Grant{
		Exchange: id, Tenant: "default",
		Target:  &exchange.Target{Tenant: "default", Name: "suite", Provider: "aws", Facts: s.Facts(), Settings: s},
		Subject: exchange.Subject{Name: subject, Tenant: "default", Trust: "prod", Issuer: "https://prod.example", ID: subject, Expires: now.Add(time.Hour)},
		Scopes:  s.Facts().Scopes, Rule: "suite", Now: now, Lifetime: time.Hour, NotAfter: now.Add(time.Hour),
	}
}

// vend asks a driver with the settings once.
func (y *yard) vend(t *testing.T, s *aws.Settings, change func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	g := grant(t, s, "k8s:prod:llm:gateway")
	if change != nil {
		change(&g)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return y.open(t, s).Vend(ctx, g)
}

// keysOf are the keys in a credential document.
func keysOf(c exchange.Credential) (awssdk.Credentials, error) {
	var doc struct {
		Version                                    int
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
	}
	if err := json.Unmarshal([]byte(c.Value.Reveal()), &doc); err != nil {
		return awssdk.Credentials{}, err
	}
	if doc.Version != 1 || !doc.Expiration.Equal(c.Expires) || doc.AccessKeyId != c.Handle {
		return awssdk.Credentials{}, errors.New("the document says another version, expiry or key id than the credential")
	}
	return awssdk.Credentials{AccessKeyID: doc.AccessKeyId, SecretAccessKey: doc.SecretAccessKey, SessionToken: doc.SessionToken, CanExpire: true, Expires: doc.Expiration}, nil
}

// errDenied: the caller was known, and may not do that.
var errDenied = errors.New("access denied")

// chat makes a model call with what was vended and returns the reply's text.
func (y *yard) chat(ctx context.Context, c exchange.Credential, model, operation string) (string, error) {
	body := []byte(`{"messages":[{"role":"user","content":[{"text":"who am I?"}]}]}`)
	if operation == "invoke" {
		body = []byte(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"messages":[{"role":"user","content":"who am I?"}]}`)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, y.web.URL+"/model/"+url.PathEscape(model)+"/"+operation, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.IssuedType == aws.TokenTypeBedrockKey {
		r.Header.Set("Authorization", "Bearer "+c.Value.Reveal())
	} else {
		keys, err := keysOf(c)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(ctx, keys, r, hex.EncodeToString(sum[:]), "bedrock", region, time.Now()); err != nil {
			return "", err
		}
	}
	answer, err := y.web.Client().Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		if answer.Header.Get("x-amzn-ErrorType") == "AccessDeniedException" {
			return "", errDenied
		}
		return "", fmt.Errorf("Bedrock answered %d: %s: %s", answer.StatusCode, answer.Header.Get("x-amzn-ErrorType"), text)
	}
	var reply struct {
		Content []struct{ Text string }
		Output  struct {
			Message struct{ Content []struct{ Text string } }
		}
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		return "", err
	}
	said := append(reply.Content, reply.Output.Message.Content...)
	if len(said) != 1 || !strings.HasPrefix(said[0].Text, "You are arn:aws:sts::") {
		return "", fmt.Errorf("a reply of another shape: %s", text)
	}
	return said[0].Text, nil
}
