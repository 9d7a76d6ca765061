package door_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/common/auth"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// signs checks that an SDK's provider signs with the key that its token is bound to.
func signs(t *testing.T, provider common.ConfigurationProvider) {
	t.Helper()
	keyID, err := provider.KeyID()
	if err != nil {
		t.Fatal(err)
	}
	key, err := provider.PrivateRSAKey()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimPrefix(keyID, "ST$"), ".")
	if len(parts) != 3 || !strings.HasPrefix(keyID, "ST$") {
		t.Fatal("keyId is no token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		JWK string `json:"jwk"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	modulus, err := base64.RawURLEncoding.DecodeString(claims.JWK)
	if err != nil || new(big.Int).SetBytes(modulus).Cmp(key.N) != 0 {
		t.Error("the token is bound to another key")
	}
	req, err := http.NewRequest(http.MethodGet, "https://objectstorage.us-ashburn-1.oraclecloud.com/n/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if err := common.DefaultRequestSigner(provider).Sign(req); err != nil || !strings.Contains(req.Header.Get("Authorization"), "rsa-sha256") {
		t.Errorf("signing: %v", err)
	}
	if region, err := provider.Region(); err != nil || region != "us-ashburn-1" {
		t.Errorf("region %q, %v", region, err)
	}
	if tenancy, err := provider.TenancyOCID(); err != nil || tenancy != "ocid1.tenancy.oc1..t" {
		t.Errorf("tenancy %q, %v", tenancy, err)
	}
}

func ociFiles(dir string) door.Settings {
	return door.Settings{OCI: &door.OCI{Files: &door.OCIFiles{Target: "oci-genai", Dir: dir}}}
}

func TestOCISDKTakesTheFilesOfAResourcePrincipal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "oci")
	a := open(t, newCambio(t), ociFiles(dir), nil)
	a.environment()
	provider, err := auth.ResourcePrincipalConfigurationProvider()
	if err != nil {
		t.Fatal(err)
	}
	signs(t, provider)
	for _, name := range []string{"key.pem", "rpst", "region"} {
		if m := mode(t, dir, name); m != 0o600 {
			t.Errorf("%s has mode %o", name, m)
		}
	}
	for _, name := range []string{"rpst", "region"} {
		if text := read(t, dir, name); text != strings.TrimSpace(text) || text == "" {
			t.Errorf("%s ends with a blank", name)
		}
	}
}

// The token is new at half its life, which is well before the moment at which SDKs hold
// it for dead, and the key stays: over renewals, reloads and new starts.
func TestOCIFilesAreRenewedAndTheKeyStays(t *testing.T) {
	dir := t.TempDir()
	s := newCambio(t)
	a := open(t, s, ociFiles(dir), nil)
	var key string
	tokens := map[string]time.Time{}
	began := s.Clock.Now()
	a.until(func(n int, d time.Duration) bool {
		if key == "" {
			key = read(t, dir, "key.pem")
		}
		token := read(t, dir, "rpst")
		if _, ok := tokens[token]; !ok {
			tokens[token] = s.Clock.Now()
		}
		if got := s.Clock.Now().Sub(tokens[token]); got > life/2+time.Minute {
			t.Errorf("a token is there for %v", got)
		}
		s.Clock.Advance(d)
		return s.Clock.Now().Sub(began) < 3*life
	})
	if n := s.Exchanges("oci-genai"); n != len(tokens) || n < 6 || n > 7 {
		t.Errorf("%d exchanges, %d tokens in three lives; want one each half", n, len(tokens))
	}
	again := open(t, s, ociFiles(dir), nil)
	if err := again.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if read(t, dir, "key.pem") != key {
		t.Error("a new start made another key")
	}
}

func TestOCIFilesOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	s := newCambio(t)
	a := open(t, s, ociFiles(dir), nil)
	var token string
	a.until(func(n int, d time.Duration) bool {
		switch text := read(t, dir, "rpst"); {
		case n == 1:
			token = text
			s.Serve("oci-genai", func(url.Values, int) standin.Answer {
				return standin.Answer{Status: http.StatusForbidden, Code: "access_denied"}
			})
		case text != token:
			t.Error("the file changed, though nothing was given")
		}
		s.Clock.Advance(d)
		return n < 100
	})
	if n := strings.Count(a.log.String(), "cannot be written"); n < 1 || n > 2 {
		t.Errorf("%d lines in the log of one failure", n)
	}
}

func TestOCIKeyThatIsNoneIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, newCambio(t), door.Settings{}, nil)
	if _, err := door.New(ociFiles(dir), door.Deps{Targets: a.targets}); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v", err)
	}
}

// proxymuxAddress is one that nobody else of this machine has taken: Oracle's SDK fixes
// the port, and loopback has many addresses.
func proxymuxAddress(t *testing.T) (address, host string) {
	t.Helper()
	for range 100 {
		var b [2]byte
		_, _ = rand.Read(b[:])
		host = fmt.Sprintf("127.99.%d.%d", b[0], b[1]|1)
		address = net.JoinHostPort(host, "12250")
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address, host
		}
	}
	t.Fatal("no address is free")
	return "", ""
}

// proxymux is a room with that door, and the service account token of its pod.
func proxymux(t *testing.T, s *standin.Server) (a *agent, host, account string) {
	t.Helper()
	address, host := proxymuxAddress(t)
	dir := t.TempDir()
	account = standin.JWT(map[string]any{"sub": "system:serviceaccount:llm:gateway", "exp": time.Now().Add(time.Hour).Unix()})
	if err := os.WriteFile(filepath.Join(dir, "account"), []byte(account+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = open(t, s, door.Settings{
		SecretFile: filepath.Join(dir, "secret"),
		OCI: &door.OCI{Proxymux: &door.Proxymux{
			Target: "oci-genai", Listen: address, CAFile: filepath.Join(dir, "ca.pem"), Region: "us-ashburn-1",
			TokenFile: filepath.Join(dir, "account"), KubernetesHost: true,
		}},
	}, nil)
	return a, host, account
}

func TestOCISDKTakesProxymux(t *testing.T) {
	a, host, account := proxymux(t, newCambio(t))
	a.environment()
	if os.Getenv("KUBERNETES_SERVICE_HOST") != host {
		t.Error("the host is not that of the listener")
	}
	byEnvironment, err := auth.OkeWorkloadIdentityConfigurationProviderWithServiceAccountTokenProvider(auth.NewSuppliedServiceAccountTokenProvider(account))
	if err != nil {
		t.Fatal(err)
	}
	signs(t, byEnvironment)
	t.Setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1") // that of the cluster
	byHost, err := auth.OkeWorkloadIdentityConfigurationProviderWithServiceAccountTokenProviderK8sService(
		&host, auth.NewSuppliedServiceAccountTokenProvider(account), []byte(read(t, os.Getenv("OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH"))))
	if err != nil {
		t.Fatal(err)
	}
	signs(t, byHost)
	if n := a.cambio.Exchanges("oci-genai"); n != 2 {
		t.Errorf("%d exchanges for two keys", n)
	}
	foreign := standin.JWT(map[string]any{"sub": "somebody", "exp": time.Now().Add(time.Hour).Unix()})
	other, err := auth.OkeWorkloadIdentityConfigurationProviderWithServiceAccountTokenProviderK8sService(
		&host, auth.NewSuppliedServiceAccountTokenProvider(foreign), []byte(read(t, os.Getenv("OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH"))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.KeyID(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with another token: %v", err)
	}
}

// OpenSSL takes a certificate for self-signed whose subject is its issuer's.
func TestTheCertificateIsThatOfAnotherThanTheCA(t *testing.T) {
	a, host, _ := proxymux(t, newCambio(t))
	config := a.TLS()[net.JoinHostPort(host, "12250")]
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) || leaf.IsCA || leaf.VerifyHostname(host) != nil || leaf.VerifyHostname("example.com") == nil {
		t.Errorf("the certificate is of %s, by %s", leaf.Subject, leaf.Issuer)
	}
}

// Both shapes of one key are one key, which is exchanged once.
func TestProxymuxTakesTheKeyAsEitherSDKSendsIt(t *testing.T) {
	a, host, _ := proxymux(t, newCambio(t))
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := trusting(t, read(t, a.Env(nil)["OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH"]))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, podKey := range []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), base64.StdEncoding.EncodeToString(der),
	} {
		body, _ := json.Marshal(map[string]string{"podKey": podKey})
		req, _ := http.NewRequest(http.MethodPost, "https://"+net.JoinHostPort(host, "12250")+"/resourcePrincipalSessionTokens", strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer "+secretOf(t, a))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var quoted string
		if err := json.Unmarshal(text, &quoted); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		inner, err := base64.StdEncoding.DecodeString(quoted)
		if err != nil || !strings.HasPrefix(string(inner), `{"token":"ST$`) {
			t.Error("the answer is not a quoted base64 of the token")
		}
		answers = append(answers, quoted)
	}
	if answers[0] != answers[1] || a.cambio.Exchanges("oci-genai") != 1 {
		t.Errorf("%d exchanges for one key", a.cambio.Exchanges("oci-genai"))
	}
}

// A reload keeps what SDKs hold already: the CA, the secret, and the key.
func TestAReloadKeepsWhatCallersHold(t *testing.T) {
	s := newCambio(t)
	dir := t.TempDir()
	settings := door.Settings{Listen: loopback, AWS: &door.AWS{Target: "bedrock"}, Azure: &door.Azure{Target: "azure-openai"}, OCI: &door.OCI{
		Files:    &door.OCIFiles{Target: "oci-genai", Dir: filepath.Join(dir, "oci")},
		Proxymux: &door.Proxymux{Target: "oci-genai", Listen: "127.0.0.1:12250", CAFile: filepath.Join(dir, "ca.pem"), Region: "r"},
	}}
	quiet := open(t, s, door.Settings{}, nil)
	first, err := door.New(settings, door.Deps{Targets: quiet.targets})
	if err != nil {
		t.Fatal(err)
	}
	second, err := door.New(settings, door.Deps{Targets: quiet.targets, Previous: first})
	if err != nil {
		t.Fatal(err)
	}
	third, err := door.New(settings, door.Deps{Targets: quiet.targets})
	if err != nil {
		t.Fatal(err)
	}
	secret := func(r *door.Room) string { return r.Env(nil)["IDENTITY_HEADER"] }
	if secret(first) != secret(second) || len(secret(first)) != 43 {
		t.Error("a reload made another secret")
	}
	if secret(first) == secret(third) {
		t.Error("two starts have one secret")
	}
	leaf := func(r *door.Room) string { return string(r.TLS()["127.0.0.1:12250"].Certificates[0].Certificate[0]) }
	if leaf(first) != leaf(second) || leaf(first) == leaf(third) {
		t.Error("a reload made another CA, or a start did not")
	}
	for _, r := range []*door.Room{first, second} {
		if err := r.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Exchanges("oci-genai"); n != 1 {
		t.Errorf("%d exchanges for one key", n)
	}
}
