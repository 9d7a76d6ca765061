package proxy_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// vendAWS gives the keys of session n.
func vendAWS(_ url.Values, n int) standin.Answer {
	text, _ := json.Marshal(map[string]any{
		"Version": 1, "AccessKeyId": fmt.Sprintf("ASIA%012d", n), "SecretAccessKey": fmt.Sprintf("vended-secret-key-%d", n),
		"SessionToken": fmt.Sprintf("vended-secret-session-%d", n), "Expiration": "2030-01-01T00:00:00Z",
	})
	return standin.Answer{Value: string(text), Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: time.Hour}
}

// verifyAWS signs what came once more, as the service that knows the keys does, and
// compares. It gives the number of the session.
func verifyAWS(r *http.Request, body []byte, service string) (int, error) {
	given := r.Header.Get("Authorization")
	m := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=ASIA0*(\d+)/\d{8}/us-east-1/(\w+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$`).FindStringSubmatch(given)
	if m == nil || m[2] != service {
		return 0, errors.New("no signature for the service")
	}
	n := 0
	_, _ = fmt.Sscan(m[1], &n)
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return 0, err
	}
	again, err := http.NewRequest(r.Method, "https://"+r.Host+r.RequestURI, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	signed := strings.Split(m[3], ";")
	for _, name := range signed {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if r.Header.Get("X-Amz-Content-Sha256") == "UNSIGNED-PAYLOAD" {
		hash = "UNSIGNED-PAYLOAD"
		again.ContentLength = r.ContentLength
	}
	keys := aws.Credentials{AccessKeyID: fmt.Sprintf("ASIA%012d", n), SecretAccessKey: fmt.Sprintf("vended-secret-key-%d", n), SessionToken: fmt.Sprintf("vended-secret-session-%d", n)}
	if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }).SignHTTP(context.Background(), keys, again, hash, service, "us-east-1", at); err != nil {
		return 0, err
	}
	if again.Header.Get("Authorization") != given {
		return 0, errors.New("the signature does not fit what came")
	}
	return n, nil
}

func TestRequestsOfAnAWSSDKAreSignedAnew(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", vendAWS)
	var mu sync.Mutex
	least := 2 // sessions before are expired
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n, err := verifyAWS(r, body, "sts")
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "text/xml")
		if n < least {
			w.Header().Set("X-Amzn-Errortype", "ExpiredTokenException:http://internal.amazon.com/")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if !strings.Contains(string(body), "Action=GetCallerIdentity") {
			t.Errorf("body %q", body)
		}
		fmt.Fprintf(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:session-%d</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>", n)
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {name: sts, target: aws, upstream: %q, ca_file: %q, auth: {aws: {service: sts, region: us-east-1}}, methods: [POST], paths: [/]}\n", u.URL, u.ca))
	client := sts.New(sts.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(h.url + "/sts"),
		Credentials: credentials.NewStaticCredentialsProvider(h.room.Secret().Reveal(), "anything", "of-the-workload"),
	})
	got, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || aws.ToString(got.Arn) != "arn:session-2" {
		t.Fatalf("%v %v", got, err)
	}
	// whose key id is not the secret is not served, whatever signed it
	client = sts.New(sts.Options{Region: "eu-west-1", BaseEndpoint: aws.String(h.url + "/sts"), Credentials: credentials.NewStaticCredentialsProvider("ASIA", "x", "")})
	if _, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err == nil || !strings.Contains(err.Error(), "StatusCode: 401") {
		t.Errorf("error %v", err)
	}
}

// Paths with escapes, queries, header values with blanks: what is signed is what is sent.
func TestSigV4OfWhatIsSent(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", vendAWS)
	var service string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := verifyAWS(r, body, service); err != nil {
			t.Errorf("%s: %v", r.RequestURI, err)
		}
		fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, len(body))
	})
	for _, one := range []struct {
		service, auth, method, path, body string
		want                              string // after the method
	}{
		{"bedrock", "", "POST", "/model/anthropic.claude-v2%3A1/converse?x=b%20c&a=1", `{"a":1}`, "/model/anthropic.claude-v2%3A1/converse?a=1&x=b%20c 7"},
		{"bedrock", "", "POST", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke-with-response-stream", "{}", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke-with-response-stream 2"},
		{"bedrock", "", "POST", "/model/m/invoke", "", "/model/m/invoke 0"},
		{"s3", "{service: s3, region: us-east-1, unsigned_payload: true}", "PUT", "/bucket/a%20b%2Bc", strings.Repeat("x", 3<<20), "/bucket/a%20b%2Bc 3145728"},
		{"s3", "{service: s3, region: us-east-1}", "PUT", "/bucket/k", "abc", "/bucket/k 3"},
	} {
		service = one.service
		route := "provider: bedrock, region: us-east-1"
		if one.auth != "" {
			route = "name: bedrock, auth: {aws: " + one.auth + "}, methods: [PUT], paths: [/bucket/*], encoded_slash: true"
		}
		h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf("routes:\n- {%s, target: aws, upstream: %q, ca_file: %q}\n", route, u.URL, u.ca))
		for _, chunked := range []bool{false, true} {
			if chunked && strings.Contains(one.auth, "unsigned") {
				continue // S3 wants a length
			}
			var body io.Reader = strings.NewReader(one.body)
			if chunked {
				body = io.MultiReader(body)
			}
			resp, text := h.ask(t, one.method, "/bedrock"+one.path, body, func(r *http.Request) {
				r.Header.Set("X-Note", "two   blanks ")
				r.Header.Add("X-Many", "b")
				r.Header.Add("X-Many", "a")
				r.Header.Set("Te", "trailers")
			})
			if resp.StatusCode != 200 || text != one.method+" "+one.want {
				t.Errorf("%s: %d %s", one.path, resp.StatusCode, text)
			}
		}
	}
}

func TestBodyThatIsTooLongToSign(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", vendAWS)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf("routes:\n- {provider: bedrock, region: us-east-1, target: aws, upstream: %q, ca_file: %q, limits: {buffer: 10}}\n", u.URL, u.ca))
	for _, body := range []io.Reader{strings.NewReader("longer than that"), io.MultiReader(strings.NewReader("longer than that"))} {
		if resp, text := h.ask(t, "POST", "/bedrock/model/m/invoke", body, nil); resp.StatusCode != 413 || !strings.Contains(text, "limits.buffer") {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
	if resp, text := h.ask(t, "POST", "/bedrock/model/m/invoke", strings.NewReader("x"), func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	}); resp.StatusCode != 501 || !strings.Contains(text, "when_required") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestRouteOfAnotherKindThanItsTarget(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", vend(time.Hour))
	server.Serve("gpt", vendAWS)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {provider: bedrock, region: us-east-1, target: aws, upstream: %q}\n- {provider: openai, target: gpt, upstream: %q}\n", u.URL, u.URL))
	for _, path := range []string{"/bedrock/model/m/invoke", "/openai/v1/responses"} {
		if resp, text := h.ask(t, "POST", path, strings.NewReader("{}"), nil); resp.StatusCode != 502 || !strings.Contains(text, "wrong_credential") {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
}

// oracle hands out tokens that are bound to keys, and verifies signatures by them, over
// what came ("Request Signatures", documentation of OCI).
type oracle struct {
	mu     sync.Mutex
	keys   map[string]*rsa.PublicKey
	reject string
}

func (o *oracle) vend(form url.Values, _ int) standin.Answer {
	der, _ := base64.StdEncoding.DecodeString(form.Get("public_key"))
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return standin.Answer{Status: 400, Code: "invalid_request", Description: "public_key is no key"}
	}
	token := standin.JWT(map[string]any{"tenant": "t"})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reject == "" {
		o.reject = token
	}
	o.keys[token] = key.(*rsa.PublicKey)
	text, _ := json.Marshal(map[string]any{"token": token, "key_id": "ST$" + token, "region": "us-ashburn-1", "tenancy": "t", "expires_at": "2030-01-01T00:00:00Z"})
	return standin.Answer{Value: string(text), Type: "N_A", IssuedTokenType: cambio.TokenTypeOCIRPST, Life: time.Hour}
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

func (o *oracle) verify(r *http.Request, body []byte) (token string, err error) {
	p := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(r.Header.Get("Authorization"), -1) {
		p[m[1]] = m[2]
	}
	token = strings.TrimPrefix(p["keyId"], "ST$")
	o.mu.Lock()
	key := o.keys[token]
	o.mu.Unlock()
	if key == nil || p["algorithm"] != "rsa-sha256" {
		return "", errors.New("no signature by a token that is known")
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Content-Sha256") != base64.StdEncoding.EncodeToString(sum[:]) {
		return "", errors.New("the digest is not that of the body")
	}
	var lines []string
	names := strings.Fields(p["headers"])
	for _, name := range names {
		value := r.Header.Get(name)
		switch name {
		case "(request-target)":
			value = strings.ToLower(r.Method) + " " + r.RequestURI
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		lines = append(lines, name+": "+value)
	}
	for _, name := range []string{"(request-target)", "host", "date", "x-content-sha256", "content-length", "content-type"} {
		if !strings.Contains(" "+p["headers"]+" ", " "+name+" ") {
			return "", errors.New(name + " is not signed")
		}
	}
	signature, _ := base64.StdEncoding.DecodeString(p["signature"])
	digest := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return token, rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
}

func TestRequestsAreSignedForOCI(t *testing.T) {
	server := standin.New(t)
	o := &oracle{keys: map[string]*rsa.PublicKey{}}
	server.Serve("oci", o.vend)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token, err := o.verify(r, body)
		if err != nil {
			t.Error(err)
		}
		if o.reject == token { // the first one is rejected
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s %s", r.RequestURI, body)
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf("routes:\n- {provider: oci-genai, region: us-ashburn-1, target: oci, upstream: %q, ca_file: %q}\n", u.URL, u.ca))
	for range 2 {
		resp, text := h.ask(t, "POST", "/oci-genai/20231130/actions/chat", strings.NewReader(`{"compartmentId":"c"}`), func(r *http.Request) {
			r.Header.Set("X-Content-Sha256", "forged")
			r.Header.Set("Date", "yesterday")
		})
		if resp.StatusCode != 200 || text != `/20231130/actions/chat {"compartmentId":"c"}` {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	if n := server.Exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

// Bodies that are held have a bound together: who comes when it is reached waits, and is
// served.
func TestBodiesThatAreHeldAreBounded(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", vendAWS)
	var mu sync.Mutex
	under, most := 0, 0
	arrived, leave := make(chan struct{}), make(chan struct{})
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		under++
		most = max(most, under)
		mu.Unlock()
		arrived <- struct{}{}
		<-leave
		mu.Lock()
		under--
		mu.Unlock()
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {provider: bedrock, region: us-east-1, target: aws, upstream: %q, ca_file: %q, limits: {buffer: %d}}\n", u.URL, u.ca, 64<<20))
	var wait sync.WaitGroup
	for range 6 { // of unknown length, so that each reserves what it may have: two fit
		wait.Go(func() {
			if resp, text := h.ask(t, "POST", "/bedrock/model/m/invoke", io.MultiReader(strings.NewReader("{}")), nil); resp.StatusCode != 200 {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	for range 3 {
		<-arrived
		<-arrived
		leave <- struct{}{}
		leave <- struct{}{}
	}
	wait.Wait()
	if most != 2 {
		t.Errorf("%d at a time", most)
	}
}
