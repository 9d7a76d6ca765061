//go:build cluster

package testcluster

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// clock is real time plus an offset, so that caches can be made to age.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

// verifier trusts the cluster under three names, one for each mode of review.
func (c *cluster) verifier(t *testing.T, clk *clock, mode exchange.ReviewMode) *subject.Verifier {
	t.Helper()
	v := subject.New(subject.Options{
		Now: clk.now,
		Client: func(caFile string) (*http.Client, error) {
			pemBytes, err := os.ReadFile(caFile)
			if err != nil {
				return nil, err
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(pemBytes)
			return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
		},
	})
	trust := exchange.Trust{
		Tenant: "default", Name: "prod", Kind: exchange.TrustKubernetes, Issuer: c.url,
		Keys: exchange.KeySource{CAFile: c.ca}, Audiences: []string{"cambio"}, Clientless: true, Hash: sha256.Sum256([]byte(mode)),
		Review: &exchange.Review{Mode: mode, Server: c.url, CAFile: c.ca, TokenFile: filepath.Join(c.dir, "admin-token"), TTL: 30 * time.Second},
	}
	if err := v.Load([]exchange.Trust{trust}); err != nil {
		t.Fatalf("loading the trust: %v", err)
	}
	return v
}

func verify(v *subject.Verifier, clk *clock, token string) (exchange.Subject, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return v.Verify(ctx, exchange.Token{Value: exchange.NewSecret(token), Type: exchange.TokenTypeJWT}, clk.now())
}

func mustVerify(t *testing.T, v *subject.Verifier, clk *clock, token, when string) exchange.Subject {
	t.Helper()
	s, err := verify(v, clk, token)
	if err != nil {
		t.Fatalf("%s: refused: %v", when, err)
	}
	return s
}

func mustRefuse(t *testing.T, v *subject.Verifier, clk *clock, token string, kind exchange.Kind, when string) {
	t.Helper()
	_, err := verify(v, clk, token)
	if err == nil {
		t.Fatalf("%s: accepted", when)
	}
	if got := exchange.KindOf(err); got != kind {
		t.Fatalf("%s: refused as %s, not %s: %v", when, got, kind, err)
	}
}

// eventually polls a real server whose caches run on a clock that is not ours.
func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// TestCluster goes through the life of one cluster in order, since starting one
// costs seconds and rotating its keys restarts it.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	t.Run("tokens by TokenRequest verify by discovery", c.tokensVerify)
	t.Run("S11 TokenReview in each mode follows a deleted pod", c.deletedPod)
	t.Run("S11 an expired token that TokenReview forgives is refused", c.forgivenExpiry)
	t.Run("S11 a review that cannot be had is 503 and never a pass", c.reviewDown)
	t.Run("the whole house exchanges a token of this cluster", c.wholeHouse)
	t.Run("a rotated key is found, a withdrawn one is gone", c.rotatedKey)
}

func (c *cluster) tokensVerify(t *testing.T) {
	clk := &clock{}
	v := c.verifier(t, clk, exchange.ReviewNever)
	s := mustVerify(t, v, clk, c.token(t, "cambio", "", ""), "a service account's token")
	if s.Name != "k8s:prod:payments:worker" || s.Clientless != exchange.ClientlessYes || s.JTI == "" {
		t.Errorf("subject %+v", s)
	}
	uid := c.pod(t, "plain")
	s = mustVerify(t, v, clk, c.token(t, "cambio", "plain", uid), "a pod's token")
	for name, want := range map[string]string{"namespace": "payments", "service_account": "worker", "pod": "plain", "node": "node-1"} {
		if got := s.Attributes[name]; len(got) != 1 || got[0] != want {
			t.Errorf("attribute %s is %v, not %s", name, got, want)
		}
	}
	mustRefuse(t, v, clk, c.token(t, c.url, "", ""), exchange.KindInvalidSubject, "a token for the API server itself")
	mustRefuse(t, v, clk, c.token(t, "vault", "", ""), exchange.KindInvalidSubject, "a token for another service")
}

func (c *cluster) deletedPod(t *testing.T) {
	clk := &clock{}
	never, cached, always := c.verifier(t, clk, exchange.ReviewNever), c.verifier(t, clk, exchange.ReviewCached), c.verifier(t, clk, exchange.ReviewAlways)
	uid := c.pod(t, "doomed")
	token := c.token(t, "cambio", "doomed", uid)
	for name, v := range map[string]*subject.Verifier{"never": never, "cached": cached, "always": always} {
		mustVerify(t, v, clk, token, "mode "+name+", the pod is there")
	}
	c.deletePod(t, "doomed")
	// The API server keeps its own answers for about ten seconds.
	eventually(t, "mode always refuses the deleted pod's token", 30*time.Second, func() bool {
		_, err := verify(always, clk, token)
		return exchange.KindOf(err) == exchange.KindInvalidSubject && err != nil
	})
	mustVerify(t, cached, clk, token, "mode cached, within its 30 s")
	clk.ahead += 31 * time.Second
	mustRefuse(t, cached, clk, token, exchange.KindInvalidSubject, "mode cached, after its 30 s")
	mustVerify(t, never, clk, token, "mode never asks nobody")
}

func (c *cluster) forgivenExpiry(t *testing.T) {
	clk := &clock{}
	fresh := c.token(t, "cambio", "", "")
	claims := decode(t, fresh)
	now := time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Add(-10*time.Minute).Unix(), now.Add(-10*time.Minute).Unix(), now.Add(-20*time.Second).Unix()
	expired := c.sign(t, fresh, claims)
	if !c.reviewed(t, expired) {
		t.Fatal("this API server no longer forgives twenty seconds of expiry: the test has lost its point")
	}
	for _, mode := range []exchange.ReviewMode{exchange.ReviewNever, exchange.ReviewCached, exchange.ReviewAlways} {
		mustRefuse(t, c.verifier(t, clk, mode), clk, expired, exchange.KindInvalidSubject, "twenty seconds after exp, mode "+string(mode))
	}
	// The same claims with a foreign service account's uid: the signature holds,
	// and the review does not.
	claims["exp"] = now.Add(5 * time.Minute).Unix()
	claims["kubernetes.io"].(object)["serviceaccount"].(object)["uid"] = "00000000-0000-4000-8000-000000000000"
	stolen := c.sign(t, fresh, claims)
	mustVerify(t, c.verifier(t, clk, exchange.ReviewNever), clk, stolen, "mode never cannot know")
	mustRefuse(t, c.verifier(t, clk, exchange.ReviewAlways), clk, stolen, exchange.KindInvalidSubject, "a uid that is not the account's")
}

func (c *cluster) reviewDown(t *testing.T) {
	clk := &clock{}
	v := c.verifier(t, clk, exchange.ReviewAlways)
	token := c.token(t, "cambio", "", "")
	mustVerify(t, v, clk, token, "the API server is up")
	write(t, filepath.Join(c.dir, "admin-token"), "not-a-token-that-may-review")
	mustRefuse(t, v, clk, token, exchange.KindUnavailable, "our own right to ask was withdrawn")
	write(t, filepath.Join(c.dir, "admin-token"), adminToken)
	mustVerify(t, v, clk, token, "the right is back")
}

func (c *cluster) rotatedKey(t *testing.T) {
	clk := &clock{}
	v := c.verifier(t, clk, exchange.ReviewNever)
	before := c.token(t, "cambio", "", "")
	mustVerify(t, v, clk, before, "before the rotation")
	old := c.keys[0]
	c.keys = append(c.keys, c.newKey(t, "sa2"))
	c.rotate(t, c.keys...)
	after := c.token(t, "cambio", "", "")
	clk.ahead += time.Minute // past the interval between two fetches for an unknown key
	mustVerify(t, v, clk, after, "signed by the new key")
	mustVerify(t, v, clk, before, "signed by the old key, still published")
	c.rotate(t, c.keys[len(c.keys)-1])
	clk.ahead += 8 * time.Minute // past the next refresh; `before` lives ten minutes
	eventually(t, "a token of the withdrawn key is refused", 20*time.Second, func() bool {
		_, err := verify(v, clk, before)
		return err != nil
	})
	mustRefuse(t, v, clk, before, exchange.KindInvalidSubject, "the withdrawn key "+filepath.Base(old))
	mustVerify(t, v, clk, after, "the key that stays")
}

func decode(t *testing.T, token string) object {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims object
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// sign makes a token with the cluster's own key: the header of a token it issued,
// other claims.
func (c *cluster) sign(t *testing.T, like string, claims object) string {
	t.Helper()
	pemBytes, err := os.ReadFile(c.keys[len(c.keys)-1])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pemBytes)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := strings.Split(like, ".")[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
