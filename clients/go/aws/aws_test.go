package aws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	cambio "github.com/cambio-sts/cambio/clients/go"
	cambioaws "github.com/cambio-sts/cambio/clients/go/aws"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// credentials is a target that gives the n-th key. The Expiration is that of a server
// whose clock is an hour slow.
func credentials(life time.Duration) standin.Target {
	return func(_ url.Values, n int) standin.Answer {
		value, _ := json.Marshal(map[string]any{
			"Version": 1, "AccessKeyId": key(n), "SecretAccessKey": "vended-secret-" + key(n), "SessionToken": "session-of-" + key(n),
			"Expiration": time.Now().Add(life - time.Hour).UTC().Format(time.RFC3339),
		})
		return standin.Answer{Value: string(value), Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: life}
	}
}

func key(n int) string { return "ASIAEXAMPLE" + strings.Repeat("A", n) }

// caller is an STS that says whose key signed, after it has made the same signature.
func caller(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")
		id, _, _ := strings.Cut(rest, "/")
		if id == "" || form.Get("Action") != "GetCallerIdentity" || r.Header.Get("Authorization") != signature(r, body, id) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
			`<Arn>arn:aws:sts::123456789012:assumed-role/llm/`+id+`</Arn><UserId>x</UserId><Account>123456789012</Account>`+
			`</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`)
	}))
	t.Cleanup(server.Close)
	return server
}

// signature is what a request has to be signed with, by the key of an id.
func signature(r *http.Request, body []byte, id string) string {
	_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return ""
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return ""
	}
	for name := range strings.SplitSeq(list, ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	digest := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{
		AccessKeyID: id, SecretAccessKey: "vended-secret-" + id, SessionToken: "session-of-" + id,
	}, again, hex.EncodeToString(digest[:]), "sts", "eu-west-1", at)
	if err != nil {
		return ""
	}
	return again.Header.Get("Authorization")
}

func client(t *testing.T, provider aws.CredentialsProvider) *sts.Client {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"), config.WithCredentialsProvider(provider),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}))
	if err != nil {
		t.Fatal(err)
	}
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = aws.String(caller(t).URL) })
}

func whoami(t *testing.T, c *sts.Client) string {
	t.Helper()
	out, err := c.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(aws.ToString(out.Arn), "arn:aws:sts::123456789012:assumed-role/llm/")
}

func TestTheSDKSignsWithWhatTheTargetGives(t *testing.T) {
	server := standin.New(t)
	server.Serve("s3", credentials(time.Hour))
	source := server.Client().TokenSource(cambio.Request{Audience: "s3"})
	c := client(t, cambioaws.NewCache(source))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := whoami(t, c); got != key(1) {
				t.Errorf("signed with %q", got)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("s3"); n != 1 {
		t.Errorf("%d exchanges for 20 calls", n)
	}
}

// The SDK's own cache would hold credentials until they are dead; ours asks the source,
// which renews ahead.
func TestCredentialsAreRenewedAheadThroughTheSDK(t *testing.T) {
	server := standin.New(t)
	renewed := make(chan struct{})
	server.Serve("s3", func(form url.Values, n int) standin.Answer {
		if n == 2 {
			defer close(renewed)
		}
		return credentials(5*time.Minute)(form, n)
	})
	source := server.Client().TokenSource(cambio.Request{Audience: "s3"})
	c := client(t, cambioaws.NewCache(source))
	if got := whoami(t, c); got != key(1) {
		t.Fatalf("signed with %q", got)
	}
	server.Clock.Advance(4*time.Minute + 30*time.Second)
	// Half a minute is left: that is too little to be sent, so this call waits.
	if got := whoami(t, c); got != key(2) {
		t.Errorf("after the renewal signed with %q", got)
	}
	<-renewed
}

func TestExpiryIsByThisMachinesClock(t *testing.T) {
	server := standin.New(t)
	server.Serve("s3", credentials(time.Hour))
	began := server.Clock.Now()
	got, err := cambioaws.NewCredentialsProvider(server.Client().TokenSource(cambio.Request{Audience: "s3"})).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := began.Add(time.Hour); !got.CanExpire || !got.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", got.Expires, want)
	}
	if got.Source != "Cambio" || got.AccessKeyID != key(1) || got.SecretAccessKey != "vended-secret-"+key(1) {
		t.Errorf("key %q of %q, and its secret", got.AccessKeyID, got.Source)
	}
}

func TestWhatIsGoodIsServedWhileTheServerIsDown(t *testing.T) {
	server := standin.New(t)
	server.Serve("s3", credentials(time.Hour))
	provider := cambioaws.NewCredentialsProvider(server.Client().TokenSource(cambio.Request{Audience: "s3"}))
	if _, err := provider.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	if got, err := provider.Retrieve(t.Context()); err != nil || got.AccessKeyID != key(1) {
		t.Fatalf("two minutes before the end: %v, %v", got.AccessKeyID, err)
	}
	server.Clock.Advance(2 * time.Minute)
	_, err := provider.Retrieve(t.Context())
	var refused *cambio.Error
	if !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable || !refused.Retryable {
		t.Errorf("after the end: %v", err)
	}
}

func TestReadSaysWhatToChange(t *testing.T) {
	whole := `{"Version":1,"AccessKeyId":"ASIA","SecretAccessKey":"vended-secret-a","SessionToken":"vended-secret-b"}`
	for name, c := range map[string]struct{ kind, value, want string }{
		"bearer":     {cambio.TokenTypeAccessToken, "vended-secret-c", "name a target of provider aws"},
		"bedrock":    {cambio.TokenTypeBedrockKey, "vended-secret-c", "`format: credentials`"},
		"no JSON":    {cambio.TokenTypeAWSCredentials, "vended-secret-c", "no JSON object of version 1"},
		"version 2":  {cambio.TokenTypeAWSCredentials, strings.Replace(whole, ":1", ":2", 1), "no JSON object of version 1"},
		"no key":     {cambio.TokenTypeAWSCredentials, strings.Replace(whole, "ASIA", "", 1), "lacks"},
		"no secret":  {cambio.TokenTypeAWSCredentials, strings.Replace(whole, "vended-secret-a", "", 1), "lacks"},
		"no session": {cambio.TokenTypeAWSCredentials, strings.Replace(whole, "vended-secret-b", "", 1), "lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cambioaws.Read(&cambio.Credential{Value: cambio.NewSecret(c.value), IssuedTokenType: c.kind})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "vended-secret-") {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := cambioaws.Read(nil); err == nil {
		t.Error("nothing was read")
	}
}

func TestACallerWhoLeavesDoesNotWait(t *testing.T) {
	server := standin.New(t)
	hold := make(chan struct{})
	server.Serve("s3", func(form url.Values, n int) standin.Answer {
		<-hold
		return credentials(time.Hour)(form, n)
	})
	provider := cambioaws.NewCredentialsProvider(server.Client().TokenSource(cambio.Request{Audience: "s3"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := provider.Retrieve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(hold)
	if _, err := provider.Retrieve(t.Context()); err != nil {
		t.Errorf("who stays: %v", err)
	}
	if n := server.Exchanges("s3"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","SessionToken":"c","Expiration":"2026-11-21T00:00:00Z"}`)
	f.Add(`{"Version":"1"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		expires := time.Unix(1<<31, 0)
		got, err := cambioaws.Read(&cambio.Credential{Value: cambio.NewSecret(text), IssuedTokenType: cambio.TokenTypeAWSCredentials, Expires: expires})
		if err == nil && (!got.HasKeys() || got.SessionToken == "" || !got.Expires.Equal(expires)) {
			t.Errorf("half credentials of %q", text)
		}
	})
}
