package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/api"
)

func publicKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Both faces hand the pipeline the same request, whole.
func TestExchangeAsksTheSameByBothFaces(t *testing.T) {
	h := open(t)
	key := publicKey(t)
	want := exchange.Request{
		Grant:          "urn:ietf:params:oauth:grant-type:token-exchange",
		SubjectToken:   exchange.Token{Type: exchange.TokenTypeJWT},
		ActorToken:     exchange.Token{Type: exchange.TokenTypeIDToken},
		Audiences:      []string{"bedrock"},
		Resources:      []string{"https://mcp.example/github"},
		Scopes:         []string{"tools.read", "tools.call"},
		RequestedType:  exchange.TokenTypeAccessToken,
		Lifetime:       10 * time.Minute,
		PublicKey:      key,
		Reason:         "INC-7: größer",
		Rejected:       sha256.Sum256([]byte("refused")),
		UserAgent:      "tester/1",
		RequestStarted: noon,
	}
	check := func(t *testing.T, door string) {
		t.Helper()
		got := h.bureau.last(t)
		if got.SubjectToken.Value.Reveal() != subjectToken || got.ActorToken.Value.Reveal() != actorToken || got.PassthroughToken.Value.Reveal() != "eyJ.pass-secret.x" {
			t.Error("the tokens did not arrive")
		}
		if got.ClientIP.String() != "127.0.0.1" || len(got.TraceID) != 32 || !strings.HasPrefix(got.UserAgent, "tester/1") || got.RequestStarted.IsZero() {
			t.Errorf("facts: %s, trace %q, agent %q, started %s", got.ClientIP, got.TraceID, got.UserAgent, got.RequestStarted)
		}
		if got.Door != door {
			t.Errorf("door %q, want %q", got.Door, door)
		}
		got.SubjectToken.Value, got.ActorToken.Value, got.PassthroughToken = exchange.Secret{}, exchange.Secret{}, exchange.Token{}
		got.Door, got.TraceID, got.ClientIP, got.UserAgent, got.RequestStarted = "", "", want.ClientIP, want.UserAgent, want.RequestStarted
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	in := &cambiov1.ExchangeRequest{
		SubjectToken: subjectToken, SubjectTokenType: string(exchange.TokenTypeJWT),
		ActorToken: actorToken, ActorTokenType: string(exchange.TokenTypeIDToken), PassthroughToken: "eyJ.pass-secret.x",
		Audience: want.Audiences, Resource: want.Resources, Scope: "tools.read tools.call tools.read",
		RequestedTokenType: string(want.RequestedType), RequestedLifetime: 600, PublicKey: key, Reason: want.Reason,
		RejectedSha256: base64.RawURLEncoding.EncodeToString(want.Rejected[:]),
	}
	t.Run("grpc", func(t *testing.T) {
		out, err := h.exchange.Exchange(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if out.GetAccessToken() != minted || out.GetExpiresIn() != 899 || out.GetScope() != "a b" ||
			out.GetIssuedTokenType() != string(exchange.TokenTypeAccessToken) || out.GetTokenType() != "Bearer" ||
			out.GetExchangeId() != exchangeID.String() || out.GetLeaseId() != leaseID.String() {
			t.Errorf("got %v", out)
		}
		check(t, "grpc")
	})
	t.Run("rest", func(t *testing.T) {
		body, err := json.Marshal(map[string]any{
			"subject_token": subjectToken, "subject_token_type": in.SubjectTokenType,
			"actor_token": actorToken, "actor_token_type": in.ActorTokenType, "passthrough_token": in.PassthroughToken,
			"audience": in.Audience, "resource": in.Resource, "scope": in.Scope, "requested_token_type": in.RequestedTokenType,
			"requested_lifetime": 600, "public_key": base64.StdEncoding.EncodeToString(key), "reason": in.Reason,
			"rejected_sha256": in.RejectedSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := h.send(t, "POST", "/v1/exchanges", string(body), "User-Agent", "tester/1")
		want := map[string]any{
			"access_token": minted, "issued_token_type": string(exchange.TokenTypeAccessToken), "token_type": "Bearer",
			"expires_in": 899.0, "scope": "a b", "exchange_id": exchangeID.String(), "lease_id": leaseID.String(),
		}
		if got.status != 200 || !reflect.DeepEqual(got.fields, want) {
			t.Errorf("got %d %v", got.status, got.fields)
		}
		if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", got.header)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Grpc-") {
				t.Errorf("header %s tells of the inside", name)
			}
		}
		check(t, "rest")
	})
}

// Each kind of failure is the same outcome at both faces, by the one table, and
// what is for the log stays there.
func TestEveryKindIsTheSameByBothFaces(t *testing.T) {
	h := open(t)
	for _, kind := range exchange.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h.bureau.answer = func(context.Context, exchange.Request) (exchange.Receipt, error) {
				return exchange.Receipt{}, &exchange.Error{
					Kind: kind, Advice: "do it differently", RetryAfter: 1500 * time.Millisecond,
					Exchange: exchangeID, Err: errors.New("deny no-preview of policy/llm.yaml"),
				}
			}
			row, advice := server.RowOf(kind), server.Advice(kind, "do it differently")
			rest := h.send(t, "POST", "/v1/exchanges", goodBody)
			rest.want(t, row.HTTP, row.OAuth, advice)
			if rest.fields["exchange_id"] != exchangeID.String() || rest.header.Get("Retry-After") != "2" {
				t.Errorf("got %s, Retry-After %q", rest.body, rest.header.Get("Retry-After"))
			}
			if (rest.header.Get("WWW-Authenticate") != "") != (row.HTTP == 401) {
				t.Errorf("WWW-Authenticate: %q", rest.header.Get("WWW-Authenticate"))
			}
			_, err := h.exchange.Exchange(t.Context(), goodRequest())
			s := status.Convert(err)
			if s.Code() != row.GRPC || s.Message() != advice {
				t.Errorf("got %s %q, want %s %q", s.Code(), s.Message(), row.GRPC, advice)
			}
			info, retry := details(s)
			if info.GetReason() != strings.ToUpper(kind.String()) || info.GetDomain() != "cambio" ||
				info.GetMetadata()["kind"] != kind.String() || info.GetMetadata()["error"] != row.OAuth ||
				info.GetMetadata()["exchange_id"] != exchangeID.String() {
				t.Errorf("ErrorInfo %v", info)
			}
			if retry.GetRetryDelay().AsDuration() != 1500*time.Millisecond {
				t.Errorf("RetryInfo %v", retry)
			}
			if strings.Contains(rest.body+s.String(), "no-preview") {
				t.Error("the reason for the log left the house")
			}
		})
	}
	if !strings.Contains(h.log.String(), "no-preview") {
		t.Error("the log does not have the reason")
	}
}

func details(s *status.Status) (*errdetails.ErrorInfo, *errdetails.RetryInfo) {
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	return info, retry
}

// What nobody classified is internal, and its text stays inside.
func TestUnclassifiedErrorsStayInside(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context, exchange.Request) (exchange.Receipt, error)
		code   codes.Code
		http   int
		oauth  string
	}{
		"plain error": {func(context.Context, exchange.Request) (exchange.Receipt, error) {
			return exchange.Receipt{}, errors.New("password is hunter2")
		}, codes.Internal, 500, "server_error"},
		"panic": {func(context.Context, exchange.Request) (exchange.Receipt, error) {
			panic("hunter2" + "-secret")
		}, codes.Internal, 500, "server_error"},
		"deadline": {func(context.Context, exchange.Request) (exchange.Receipt, error) {
			return exchange.Receipt{}, fmt.Errorf("hunter2: %w", context.DeadlineExceeded)
		}, codes.Unavailable, 503, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.bureau.answer = c.answer
			rest := h.send(t, "POST", "/v1/exchanges", goodBody)
			rest.want(t, c.http, c.oauth, "")
			_, err := h.exchange.Exchange(t.Context(), goodRequest())
			if status.Code(err) != c.code || strings.Contains(err.Error()+rest.body, "hunter2") {
				t.Errorf("got %v and %s", err, rest.body)
			}
		})
	}
}

// An exchange over gRPC whose caller hangs up reaches the pipeline as a context
// that ended: what becomes of it is the pipeline's to say.
func TestHangingUpEndsTheContext(t *testing.T) {
	h := open(t)
	begun, ended := make(chan struct{}, 2), make(chan error, 2)
	h.bureau.answer = func(ctx context.Context, _ exchange.Request) (exchange.Receipt, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return exchange.Receipt{}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := h.exchange.Exchange(ctx, goodRequest()); done <- err }()
	<-begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if status.Code(<-done) != codes.Canceled {
		t.Error("the caller was told otherwise")
	}
}

func TestBadRequestsAreRefusedAlike(t *testing.T) {
	h := open(t)
	private := func() []byte {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}()
	many := func(n int, s string) []string {
		return strings.Split(strings.Repeat(s+",", n-1)+s, ",")
	}
	cases := map[string]struct {
		change func(*cambiov1.ExchangeRequest)
		kind   exchange.Kind
		advice string
	}{
		"no subject token":     {func(r *cambiov1.ExchangeRequest) { r.SubjectToken = "" }, exchange.KindInvalidRequest, "subject_token is missing"},
		"no type":              {func(r *cambiov1.ExchangeRequest) { r.SubjectTokenType = "" }, exchange.KindInvalidRequest, "subject_token_type is missing"},
		"type no URI":          {func(r *cambiov1.ExchangeRequest) { r.SubjectTokenType = "jwt" }, exchange.KindInvalidRequest, "subject_token_type is not a URI"},
		"actor without type":   {func(r *cambiov1.ExchangeRequest) { r.ActorToken = actorToken }, exchange.KindInvalidRequest, "both or neither"},
		"type without actor":   {func(r *cambiov1.ExchangeRequest) { r.ActorTokenType = "urn:x:y" }, exchange.KindInvalidRequest, "both or neither"},
		"actor type no URI":    {func(r *cambiov1.ExchangeRequest) { r.ActorToken, r.ActorTokenType = "x", "y" }, exchange.KindInvalidRequest, "actor_token_type is not a URI"},
		"empty audience":       {func(r *cambiov1.ExchangeRequest) { r.Audience = []string{""} }, exchange.KindInvalidTarget, "name of a target"},
		"long audience":        {func(r *cambiov1.ExchangeRequest) { r.Audience = []string{strings.Repeat("a", 257)} }, exchange.KindInvalidTarget, "name of a target"},
		"many audiences":       {func(r *cambiov1.ExchangeRequest) { r.Audience = many(9, "a") }, exchange.KindInvalidTarget, "too many"},
		"many resources":       {func(r *cambiov1.ExchangeRequest) { r.Resource = many(9, "https://a") }, exchange.KindInvalidTarget, "too many"},
		"fragment":             {func(r *cambiov1.ExchangeRequest) { r.Resource = []string{"https://a/#b"} }, exchange.KindInvalidTarget, "fragment"},
		"relative resource":    {func(r *cambiov1.ExchangeRequest) { r.Resource = []string{"/a"} }, exchange.KindInvalidTarget, "absolute URI"},
		"resource with space":  {func(r *cambiov1.ExchangeRequest) { r.Resource = []string{"https://a/ b"} }, exchange.KindInvalidTarget, "absolute URI"},
		"double space":         {func(r *cambiov1.ExchangeRequest) { r.Scope = "a  b" }, exchange.KindInvalidScope, "one space"},
		"scope with quote":     {func(r *cambiov1.ExchangeRequest) { r.Scope = `a"b` }, exchange.KindInvalidScope, "visible ASCII"},
		"scope not ASCII":      {func(r *cambiov1.ExchangeRequest) { r.Scope = "ä" }, exchange.KindInvalidScope, "visible ASCII"},
		"many scopes":          {func(r *cambiov1.ExchangeRequest) { r.Scope = strings.Join(many(65, "a"), " ") }, exchange.KindInvalidScope, "64 at most"},
		"wanted type no URI":   {func(r *cambiov1.ExchangeRequest) { r.RequestedTokenType = "jwt" }, exchange.KindInvalidRequest, "requested_token_type"},
		"refresh token wanted": {func(r *cambiov1.ExchangeRequest) { r.RequestedTokenType = string(exchange.TokenTypeRefreshToken) }, exchange.KindInvalidRequest, "refresh tokens"},
		"negative lifetime":    {func(r *cambiov1.ExchangeRequest) { r.RequestedLifetime = -1 }, exchange.KindInvalidRequest, "requested_lifetime"},
		"endless lifetime":     {func(r *cambiov1.ExchangeRequest) { r.RequestedLifetime = 1 << 30 }, exchange.KindInvalidRequest, "requested_lifetime"},
		"long reason":          {func(r *cambiov1.ExchangeRequest) { r.Reason = strings.Repeat("r", 513) }, exchange.KindInvalidRequest, "reason is too long"},
		"reason with NUL":      {func(r *cambiov1.ExchangeRequest) { r.Reason = "a\x00b" }, exchange.KindInvalidRequest, "reason holds a control character"},
		"audience with LF":     {func(r *cambiov1.ExchangeRequest) { r.Audience = []string{"a\nb"} }, exchange.KindInvalidRequest, "audience holds a control character"},
		"key of noise":         {func(r *cambiov1.ExchangeRequest) { r.PublicKey = []byte("noise") }, exchange.KindInvalidRequest, "openssl"},
		"key too long":         {func(r *cambiov1.ExchangeRequest) { r.PublicKey = bytes.Repeat([]byte{1}, 3073) }, exchange.KindInvalidRequest, "too long"},
		"private key":          {func(r *cambiov1.ExchangeRequest) { r.PublicKey = private }, exchange.KindInvalidRequest, "private key"},
		"private key in PEM":   {func(r *cambiov1.ExchangeRequest) { r.PublicKey = []byte("-----BEGIN EC PRIVATE KEY-----") }, exchange.KindInvalidRequest, "private key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := h.bureau.count()
			in := goodRequest()
			c.change(in)
			row := server.RowOf(c.kind)
			_, err := h.exchange.Exchange(t.Context(), in)
			if s := status.Convert(err); s.Code() != row.GRPC || !strings.Contains(s.Message(), c.advice) {
				t.Errorf("got %v, want %s with %q", err, row.GRPC, c.advice)
			}
			body, err := json.Marshal(in) // the tags of the generated struct have the names of the .proto
			if err != nil {
				t.Fatal(err)
			}
			h.send(t, "POST", "/v1/exchanges", string(body)).want(t, row.HTTP, row.OAuth, c.advice)
			if h.bureau.count() != before {
				t.Error("the pipeline was asked all the same")
			}
		})
	}
}

func TestBadJSONIsRefused(t *testing.T) {
	h := open(t, func(o *api.Options) { o.RequestBytes = 4096 })
	cases := map[string]struct {
		body, contentType string
		status            int
		advice            string
	}{
		"empty":            {"", "application/json", 400, "the body is empty"},
		"no JSON":          {"subject_token=" + subjectToken, "application/json", 400, "not"},
		"an array":         {"[]", "application/json", 400, "1:1"},
		"cut off":          {goodBody[:40], "application/json", 400, "not"},
		"two values":       {goodBody + goodBody, "application/json", 400, "1:"},
		"unknown member":   {`{"subject_tokn":"x"}`, "application/json", 400, "at 1:2: unknown member subject_tokn"},
		"member twice":     {`{"subject_token":"a","subject_token":"b"}`, "application/json", 400, "duplicate member subject_token"},
		"by both names":    {`{"subject_token":"a","subjectToken":"b"}`, "application/json", 400, "duplicate member subjectToken"},
		"wrong type":       {`{"subject_token":{"secret":"x-secret"}}`, "application/json", 400, "the body"},
		"wrong value":      {`{"requested_lifetime":"x-secret"}`, "application/json", 400, "the value of requested_lifetime"},
		"fraction":         {`{"requested_lifetime":1.5}`, "application/json", 400, "requested_lifetime"},
		"huge number":      {`{"requested_lifetime":99999999999}`, "application/json", 400, "requested_lifetime"},
		"bad hash":         {`{"subject_token":"a","subject_token_type":"urn:x:y","rejected_sha256":"*secret*"}`, "application/json", 400, "rejected_sha256"},
		"bad base64":       {`{"public_key":"*secret*"}`, "application/json", 400, "public_key"},
		"not UTF-8":        {"{\"subject_token\":\"\xff\"}", "application/json", 400, "the body"},
		"deep":             {strings.Repeat("[", 4000), "application/json", 400, "the body"},
		"too large":        {`{"reason":"` + strings.Repeat("r", 4096) + `"}`, "application/json", 413, "too large"},
		"form":             {"a=b", "application/x-www-form-urlencoded", 415, "application/json"},
		"multipart":        {"x", "multipart/form-data; boundary=x", 415, "application/json"},
		"no content type":  {goodBody, "", 415, "application/json"},
		"another encoding": {goodBody, "application/json; charset=latin1", 415, "application/json"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := h.send(t, "POST", "/v1/exchanges", c.body, "Content-Type", c.contentType)
			got.want(t, c.status, "invalid_request", c.advice)
			if strings.Contains(got.body, "secret\"") || strings.Contains(got.body, "x-secret") || strings.Contains(got.body, subjectToken) {
				t.Errorf("the body is quoted: %s", got.body)
			}
		})
	}
	if h.bureau.count() != 0 {
		t.Error("the pipeline was asked")
	}
	if got := h.send(t, "POST", "/v1/exchanges", goodBody, "Content-Type", "application/json; charset=UTF-8"); got.status != 200 {
		t.Errorf("a good one: %d %s", got.status, got.body)
	}
	_, err := h.exchange.Exchange(t.Context(), &cambiov1.ExchangeRequest{Reason: strings.Repeat("r", 5000)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over gRPC: %v", err)
	}
}

// A caller cannot tell by the answer whether a target is unknown or refused.
func TestS18UnknownAndRefusedTargetsLookAlike(t *testing.T) {
	h := open(t)
	var bodies, statuses []string
	for _, why := range []string{"there is no target x", "deny no-preview matches"} {
		h.bureau.answer = func(context.Context, exchange.Request) (exchange.Receipt, error) {
			return exchange.Receipt{}, &exchange.Error{Kind: exchange.KindInvalidTarget, Advice: "this target is not for you, or does not exist", Exchange: exchangeID, Err: errors.New(why)}
		}
		bodies = append(bodies, h.send(t, "POST", "/v1/exchanges", goodBody).body)
		_, err := h.exchange.Exchange(t.Context(), goodRequest())
		statuses = append(statuses, status.Convert(err).Proto().String())
	}
	if bodies[0] != bodies[1] || statuses[0] != statuses[1] {
		t.Errorf("they differ: %q %q", bodies, statuses)
	}
}
