package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// TestGRPCOnTheSamePort: the third door has the same policy and the same ledger.
func TestGRPCOnTheSamePort(t *testing.T) {
	p := startDev(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(p.ready.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := world.ServiceAccount(time.Now(), "agents", "assistant", devworld.Audience)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(scope string) (*cambiov1.ExchangeResponse, error) {
		return cambiov1.NewExchangeServiceClient(conn).Exchange(t.Context(), &cambiov1.ExchangeRequest{
			SubjectToken: token.Reveal(), SubjectTokenType: tokenTypePrefix + "jwt", Audience: []string{"github-mcp"}, Scope: scope,
		})
	}
	issued, err := ask("tools.read")
	if err != nil || issued.GetScope() != "tools.read" || issued.GetAccessToken() == "" {
		t.Fatal(issued, err)
	}
	if _, err := ask("tools.call"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a wider scope: %v", err)
	}
	auditor, err := os.ReadFile(devworld.AuditorToken(p.ready.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	audit := cambiov1.NewAuditServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+strings.TrimSpace(string(auditor)))
	list, err := audit.ListExchanges(ctx, &cambiov1.ListExchangesRequest{Filter: `subject:"assistant"`})
	if err != nil {
		t.Fatal(err)
	}
	if got := list.GetExchanges(); len(got) != 2 || got[0].GetOutcome() != "denied" || got[1].GetExchange() != issued.GetExchangeId() || got[1].GetDoor() != "grpc" {
		t.Errorf("the ledger shows %v", got)
	}
	if _, err := audit.ListExchanges(t.Context(), &cambiov1.ListExchangesRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	p.stop()
}

// certificate writes a self-signed one for this machine.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServeOverTLS: the command trusts the roots that it is given, and no others.
func TestServeOverTLS(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, in("policy/keys.json"))
	certificate(t, in("tls.crt"), in("tls.key"))
	if err := os.WriteFile(in("policy/policy.yaml"), []byte(realPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	environ := []string{
		"CAMBIO_ISSUER=https://cambio.example/behind/a/path", "CAMBIO_LISTEN_ADDRESS=127.0.0.1:0", "CAMBIO_OPS_ADDRESS=127.0.0.1:0",
		"CAMBIO_LISTEN_TLS_CERT_FILE=tls.crt", "CAMBIO_LISTEN_TLS_KEY_FILE=tls.key", "CAMBIO_STORE_SQLITE_PATH=cambio.db",
		"CAMBIO_SEAL_KEY=" + base64.StdEncoding.EncodeToString(seal),
	}
	migrate := exec.Command("cambio", "migrate")
	migrate.Dir, migrate.Env = dir, append(os.Environ(), environ...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := start(t, dir, environ, "serve")
	if !strings.HasPrefix(p.ready.URL, "https://") {
		t.Fatalf("serving %s", p.ready.URL)
	}
	run := func(more ...string) (string, int) {
		cmd := exec.Command("cambio", append([]string{"exchange", "--url", p.ready.URL + "/behind/a/path", "--target", "mcp"}, more...)...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(cluster.token("llm", "gateway"))
		out, _ := cmd.CombinedOutput() // the status says it
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, status := run("--ca-file", "tls.crt"); status != 0 || !strings.Contains(out, `"scope":"read"`) {
		t.Errorf("exit status %d, %s", status, out)
	}
	if out, status := run(); status != statusUnreachable || !strings.Contains(out, "certificate") {
		t.Errorf("without the root: exit status %d, %s", status, out)
	}
	if out, status := run("--ca-file", "tls.key"); status != statusFault || !strings.Contains(out, "no certificate") {
		t.Errorf("a key as root: exit status %d, %s", status, out)
	}
	if err := os.WriteFile(in("auditor.jwt"), []byte(cluster.token("audit", "auditor")), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := p.shell("cambio audit list --ca-file tls.crt --token-file auditor.jwt --output json --url " + p.ready.URL + "/behind/a/path")
	if status != 0 || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit status %d, %s%s", status, stdout, stderr)
	}
	p.stop()
}
