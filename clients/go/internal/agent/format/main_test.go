package format_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

// secret is what the credentials of these tests are worth.
const secret = "vended-secret-of-the-test"

// until is when they end.
var until = time.Date(2031, 5, 6, 7, 8, 9, 500, time.UTC)

// TestMain is also the helper that git, docker's client, kubectl and the AWS SDK call:
// this binary, with the variable set.
func TestMain(m *testing.M) {
	switch os.Getenv("CAMBIO_FORMAT_TEST") {
	case "git":
		out, err := format.Git(context.Background(), os.Args[len(os.Args)-1], os.Stdin, places, get)
		finish(out, err)
	case "docker":
		out, err := format.Docker(context.Background(), os.Args[len(os.Args)-1], os.Stdin, places, get)
		finish(out, err)
	case "kubectl":
		info, err := format.ParseExecInfo(os.Getenv("KUBERNETES_EXEC_INFO"))
		if err == nil {
			err = info.For(os.Getenv("CAMBIO_FORMAT_SERVER"))
		}
		if err != nil {
			finish(nil, err)
		}
		out, err := format.Write(format.ExecCredential, bearer(secret), format.Options{Exec: info})
		finish(out, err)
	case "aws":
		out, err := format.Write(format.CredentialProcess, awsCredential(), format.Options{})
		finish(out, err)
	}
	os.Exit(m.Run())
}

func finish(out []byte, err error) {
	_, _ = os.Stdout.Write(out)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// places of the helpers' tests.
var places = []format.Place{
	{Host: "git.example", Path: "org/one", Target: "one"},
	{Host: "git.example", Path: "team", Target: "team"},
	{Host: "code.example", Target: "code", Username: "deploy"},
	{Host: "ghcr.example", Target: "registry"},
	{Host: "docker.io", Target: "hub", Username: "house"},
	{Host: "db.example", Target: "lease"},
	{Host: "evil.example", Target: "lines"},
	{Host: "down.example", Target: "down"},
	{Host: "127.0.0.1:3000", Target: "local"},
}

// get knows each target by its name; the token tells which one it was.
func get(_ context.Context, target string) (*cambio.Credential, error) {
	switch target {
	case "lease":
		return lease(`{"username":"v-app","password":"` + secret + `"}`), nil
	case "lines":
		return bearer(secret + "\npassword=other"), nil
	case "down":
		return nil, errors.New("the server is away")
	}
	return bearer(secret + "-" + target), nil
}

func bearer(value string) *cambio.Credential {
	return &cambio.Credential{
		Value: cambio.NewSecret(value), Type: "Bearer", IssuedTokenType: cambio.TokenTypeAccessToken,
		Scopes: []string{"a", "b"}, Expires: until, ExchangeID: "0193-exchange",
	}
}

func lease(data string) *cambio.Credential {
	return &cambio.Credential{
		Value: cambio.NewSecret(`{"lease_id":"db/1","renewable":true,"data":` + data + `}`), Type: "N_A",
		IssuedTokenType: cambio.TokenTypeVaultLease, Expires: until,
	}
}

func awsCredential() *cambio.Credential {
	// The server's own Expiration is passed over: its clock may be another.
	text := `{"Version":1,"AccessKeyId":"ASIATEST","SecretAccessKey":"` + secret + `","SessionToken":"s/+==","Expiration":"2001-01-01T00:00:00Z"}`
	return &cambio.Credential{Value: cambio.NewSecret(text), Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Expires: until}
}

// fails checks that an error says what it should, and nothing that is secret.
func fails(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v; it should say %q", err, says)
	}
	if err != nil && strings.Contains(err.Error(), "vended-secret-") {
		t.Error("the error holds a secret")
	}
}
