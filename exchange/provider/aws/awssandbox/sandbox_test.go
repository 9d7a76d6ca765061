package awssandbox_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	keyID  = "AKIASANDBOX000000001"
	secret = "a-secret-of-the-sandbox"
	trust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:*"}]}`
)

func newServer(t testing.TB) *awssandbox.Server {
	t.Helper()
	s, err := awssandbox.New(sandbox.World{
		Issuer: "https://cambio.example/federation", Keys: func() []byte { return []byte(`{"keys":[]}`) },
		Now: func() time.Time { return noon }, Random: rand.Reader,
	}, awssandbox.Setup{
		Keys:  []awssandbox.Key{{ID: keyID, Secret: secret, User: "ops"}},
		Roles: []awssandbox.Role{{Name: "llm", Trust: trust}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request is a call of STS, signed at noon.
func request(t testing.TB, form url.Values) *http.Request {
	t.Helper()
	form.Set("Version", "2011-06-15")
	r := httptest.NewRequest(http.MethodPost, "https://sts.us-east-1.amazonaws.com/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r
}

func sign(t testing.TB, r *http.Request, sum string, change func(*aws.Credentials, *string, *string, *time.Time)) {
	t.Helper()
	keys, service, region, at := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, "sts", "us-east-1", noon
	if change != nil {
		change(&keys, &service, &region, &at)
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, sum, service, region, at); err != nil {
		t.Fatal(err)
	}
}

func do(s http.Handler, r *http.Request) (status int, code string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer struct {
		Code string `xml:"Error>Code"`
	}
	_ = xml.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer.Code
}

// TestSignaturesAreVerified: each part of a signed call counts.
func TestSignaturesAreVerified(t *testing.T) {
	s := newServer(t)
	form := url.Values{"Action": {"GetCallerIdentity"}}
	for name, c := range map[string]struct {
		sign   func(*aws.Credentials, *string, *string, *time.Time)
		change func(*http.Request)
		code   string
	}{
		"good":           {},
		"unsigned":       {change: func(r *http.Request) { r.Header.Del("Authorization") }, code: "MissingAuthenticationToken"},
		"another secret": {sign: func(k *aws.Credentials, _, _ *string, _ *time.Time) { k.SecretAccessKey += "x" }, code: "SignatureDoesNotMatch"},
		"another key":    {sign: func(k *aws.Credentials, _, _ *string, _ *time.Time) { k.AccessKeyID = "AKIANOBODY" }, code: "InvalidClientTokenId"},
		"a token too":    {sign: func(k *aws.Credentials, _, _ *string, _ *time.Time) { k.SessionToken = "x" }, code: "InvalidClientTokenId"},
		"service":        {sign: func(_ *aws.Credentials, s, _ *string, _ *time.Time) { *s = "bedrock" }, code: "SignatureDoesNotMatch"},
		"region":         {sign: func(_ *aws.Credentials, _, r *string, _ *time.Time) { *r = "eu-west-1" }, code: "SignatureDoesNotMatch"},
		"old":            {sign: func(_ *aws.Credentials, _, _ *string, at *time.Time) { *at = noon.Add(-6 * time.Minute) }, code: "SignatureDoesNotMatch"},
		"new":            {sign: func(_ *aws.Credentials, _, _ *string, at *time.Time) { *at = noon.Add(6 * time.Minute) }, code: "SignatureDoesNotMatch"},
		"host":           {change: func(r *http.Request) { r.Host = "sts.eu-west-1.amazonaws.com" }, code: "SignatureDoesNotMatch"},
		"body": {change: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(form.Encode() + "&"))
		}, code: "SignatureDoesNotMatch"},
		"query":    {change: func(r *http.Request) { r.URL.RawQuery = "a=b" }, code: "SignatureDoesNotMatch"},
		"a header": {change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, code: "SignatureDoesNotMatch"},
		"half a header": {change: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") },
			code: "IncompleteSignature"},
	} {
		r := request(t, form)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		sign(t, r, sum(string(body)), c.sign)
		if c.change != nil {
			c.change(r)
		}
		status, code := do(s, r)
		if code != c.code || (c.code == "") != (status == http.StatusOK) {
			t.Errorf("%s: %d %q, want %q", name, status, code, c.code)
		}
	}
}

// TestParametersAreChecked as STS checks them.
func TestParametersAreChecked(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct {
		change map[string]string
		code   string
	}{
		"good":                          {},
		"a name too short":              {map[string]string{"RoleSessionName": "x"}, "ValidationError"},
		"a name too long":               {map[string]string{"RoleSessionName": strings.Repeat("x", 65)}, "ValidationError"},
		"a name of other letters":       {map[string]string{"RoleSessionName": "k8s:prod"}, "ValidationError"},
		"no role":                       {map[string]string{"RoleArn": "llm"}, "ValidationError"},
		"a role that is not there":      {map[string]string{"RoleArn": "arn:aws:iam::123456789012:role/x"}, "AccessDenied"},
		"too short":                     {map[string]string{"DurationSeconds": "899"}, "ValidationError"},
		"too long":                      {map[string]string{"DurationSeconds": "43201"}, "ValidationError"},
		"longer than the role's":        {map[string]string{"DurationSeconds": "3601"}, "ValidationError"},
		"no number":                     {map[string]string{"DurationSeconds": "1h"}, "ValidationError"},
		"no JSON":                       {map[string]string{"Policy": "{not json"}, "MalformedPolicyDocument"},
		"a principal":                   {map[string]string{"Policy": trust}, "MalformedPolicyDocument"},
		"a policy too long":             {map[string]string{"Policy": strings.Repeat("x", 2049)}, "ValidationError"},
		"an unknown policy":             {map[string]string{"PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/x"}, "MalformedPolicyDocument"},
		"a tag":                         {map[string]string{"Tags.member.1.Key": "a", "Tags.member.1.Value": "b"}, ""},
		"a tag of AWS":                  {map[string]string{"Tags.member.1.Key": "aws:a", "Tags.member.1.Value": "b"}, "ValidationError"},
		"a tag of other letters":        {map[string]string{"Tags.member.1.Key": "a", "Tags.member.1.Value": "b|c"}, "ValidationError"},
		"one tag in two spellings":      {map[string]string{"Tags.member.1.Key": "a", "Tags.member.2.Key": "A"}, "ValidationError"},
		"a transitive key that is none": {map[string]string{"TransitiveTagKeys.member.1": "a"}, "ValidationError"},
		"an identity too short":         {map[string]string{"SourceIdentity": "x"}, "ValidationError"},
		"an action that is none":        {map[string]string{"Action": "AssumeNothing"}, "InvalidAction"},
	} {
		form := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::123456789012:role/llm"}, "RoleSessionName": {"me"}, "Version": {"2011-06-15"}}
		for name, value := range c.change {
			form.Set(name, value)
		}
		r := request(t, form)
		sign(t, r, sum(form.Encode()), nil)
		if status, code := do(s, r); code != c.code || (c.code == "") != (status == http.StatusOK) {
			t.Errorf("%s: %d %q, want %q", name, status, code, c.code)
		}
	}
}

// TestSetupsAreRead: a policy that cannot be is found when the sandbox is made.
func TestSetupsAreRead(t *testing.T) {
	for name, setup := range map[string]awssandbox.Setup{
		"no trust":        {Roles: []awssandbox.Role{{Name: "llm"}}},
		"no name":         {Roles: []awssandbox.Role{{Trust: trust}}},
		"a policy":        {Roles: []awssandbox.Role{{Name: "llm", Trust: trust, Policy: "{}"}}},
		"a managed one":   {Managed: map[string]string{"arn": "[]"}},
		"an unknown word": {Roles: []awssandbox.Role{{Name: "llm", Trust: strings.Replace(trust, "Effect", "Affect", 1)}}},
	} {
		if _, err := awssandbox.New(sandbox.World{Now: time.Now, Random: rand.Reader, Keys: func() []byte { return nil }}, setup); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// TestAnswersOfOtherPaths: what no service has is not found.
func TestAnswersOfOtherPaths(t *testing.T) {
	s := newServer(t)
	for path, want := range map[string]int{"/x": http.StatusNotFound, "/model/": http.StatusNotFound, "/model/a/b": http.StatusForbidden} {
		if status, _ := do(s, httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
	if s.Calls() != 1 {
		t.Errorf("%d calls of STS", s.Calls())
	}
}

// FuzzRequests: no request, signed or not, makes the stand-in fall, and none opens a
// session without a signature.
func FuzzRequests(f *testing.F) {
	f.Add("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/llm&RoleSessionName=me&WebIdentityToken=e30.e30.e30", "", "/")
	f.Add("Action=GetCallerIdentity&Version=2011-06-15", "AWS4-HMAC-SHA256 Credential="+keyID+"/20261121/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "/")
	f.Add("{}", "Bearer bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz9BY3Rpb249Q2FsbFdpdGhCZWFyZXJUb2tlbiZWZXJzaW9uPTE=", "/model/x/converse")
	f.Add("Action=AssumeRole&Version=2011-06-15&Tags.member.1.Key=a&Policy={}", "AWS4-HMAC-SHA256 Credential=////aws4_request,SignedHeaders=host,Signature=x", "/")
	f.Fuzz(func(t *testing.T, body, authorization, path string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n\x7f") {
			path = "/"
		}
		target, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		s := newServer(t)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = target.Path, target.RawPath, target.RawQuery
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", "20261121T120000Z")
		if status, _ := do(s, r); status == http.StatusOK {
			t.Errorf("%q with %q is answered", body, authorization)
		}
	})
}

func sum(body string) string {
	digest := sha256.Sum256([]byte(body))
	return hex.EncodeToString(digest[:])
}
