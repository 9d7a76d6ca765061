package aws_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithy "github.com/aws/smithy-go"

	"github.com/cambio-sts/cambio/exchange/provider/aws"
)

// TestTheSDKTakesWhatIsVended: as the output of a credential_process, and STS then
// says that the caller is the session with the exchange's id.
func TestTheSDKTakesWhatIsVended(t *testing.T) {
	y := newYard(t, nil)
	s := y.settings()
	g := grant(t, s, "k8s:prod:llm:gateway")
	c, err := y.open(t, s).Vend(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(c.Value.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	from := processcreds.NewProviderCommand(processcreds.NewCommandBuilderFunc(func(ctx context.Context) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, "cat", file), nil
	}))
	keys, err := from.Retrieve(t.Context())
	if err != nil || !keys.CanExpire || !keys.Expires.Equal(c.Expires) {
		t.Fatalf("the SDK reads an expiry %v: %v", keys.Expires, err)
	}
	who, err := y.whoami(t, from)
	if err != nil || !strings.HasSuffix(who, ":assumed-role/llm/cambio-"+g.Exchange.String()) {
		t.Errorf("STS says %q: %v", who, err)
	}
	keys.SecretAccessKey += "x"
	var api smithy.APIError
	if _, err := y.whoami(t, credentials.StaticCredentialsProvider{Value: keys}); !errors.As(err, &api) || api.ErrorCode() != "SignatureDoesNotMatch" {
		t.Errorf("a wrong secret: %v", err)
	}
}

func (y *yard) whoami(t *testing.T, from awssdk.CredentialsProvider) (string, error) {
	t.Helper()
	client := sts.New(sts.Options{Region: region, BaseEndpoint: &y.web.URL, HTTPClient: y.web.Client(), Credentials: from})
	out, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

// TestChaining: a session that assumes another role keeps its transitive tags, and
// gets an hour at most.
func TestChaining(t *testing.T) {
	y := newYard(t, nil)
	s := y.settings()
	s.TransitiveTags = []string{"subject"}
	c, err := y.vend(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keysOf(c)
	if err != nil {
		t.Fatal(err)
	}
	client := sts.New(sts.Options{Region: region, BaseEndpoint: &y.web.URL, HTTPClient: y.web.Client(), Credentials: credentials.StaticCredentialsProvider{Value: keys}})
	_, err = client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: &s.RoleARN, RoleSessionName: awssdk.String("next"), DurationSeconds: awssdk.Int32(7200),
	})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ValidationError" || !strings.Contains(api.ErrorMessage(), "role chaining") {
		t.Errorf("two hours of a chained role: %v", err)
	}
}

// TestBedrockKeysDie at their time, in another region and when they are altered.
func TestBedrockKeysDie(t *testing.T) {
	y := newYard(t, nil)
	s := y.settings()
	s.Format = aws.FormatBedrockKey
	c, err := y.vend(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := y.chat(t.Context(), c, small, "converse"); err != nil || !strings.Contains(text, "subject k8s:prod:llm:gateway") {
		t.Errorf("%q: %v", text, err)
	}
	if c.TokenType != "Bearer" || !strings.HasPrefix(c.Value.Reveal(), "bedrock-api-key-") || c.Expires.After(time.Now().Add(time.Hour)) {
		t.Errorf("%s until %v", c.TokenType, c.Expires)
	}
	s.Region = "eu-west-1"
	if c, err = y.vend(t, s, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := y.chat(t.Context(), c, small, "converse"); err == nil || errors.Is(err, errDenied) {
		t.Errorf("a key for another region: %v", err)
	}
}
