package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/api"
)

const (
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	deskSecret      = "desk-client-secret"
	deskAssertion   = "eyJ.desk-assertion-secret.x"
	batchSecret     = "batch-client-secret"
	defaultResource = "https://mcp.example/github"
)

// registry knows two clients: desk may exchange tokens, batch may not.
type registry struct{ down bool }

func (g registry) prove(id string, right bool) (client.Proven, error) {
	switch {
	case g.down:
		return client.Proven{}, exchange.Fault(exchange.KindUnavailable, "the keys of the client could not be had; try again", errors.New("dial tcp 10.9.8.7"))
	case !right:
		return client.Proven{}, exchange.Fault(exchange.KindInvalidClient, "client authentication failed", errors.New("no such client, or not its secret"))
	}
	c := exchange.Client{Tenant: "default", Name: id, Hash: [32]byte{1, 2, 3}, Grants: []string{exchange.GrantTokenExchange}, DefaultResource: defaultResource}
	if id == "batch" {
		c.Grants = []string{exchange.GrantClientCredentials}
	}
	return client.Proven{Client: c, Self: c.Subject(noon)}, nil
}

func (g registry) Secret(_ context.Context, id string, secret exchange.Secret, now time.Time) (client.Proven, error) {
	right := map[string]string{"desk": deskSecret, "batch": batchSecret}[id]
	return g.prove(id, now.Equal(noon) && right != "" && secret.Reveal() == right)
}

func (g registry) Assertion(_ context.Context, id string, assertion exchange.Secret, now time.Time) (client.Proven, error) {
	p, err := g.prove("desk", now.Equal(noon) && assertion.Reveal() == deskAssertion && (id == "" || id == "desk"))
	p.Once = &exchange.Once{Realm: "client:default:desk"}
	return p, err
}

func openClients(t *testing.T, change ...func(*api.Options)) *house {
	t.Helper()
	return open(t, append([]func(*api.Options){func(o *api.Options) { o.Clients = registry{} }}, change...)...)
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// presents is one way to authenticate a client, by either face.
type presents struct {
	authorization                        []string
	id, secret, assertion, assertionType string
	without                              bool // no target either
}

// ask sends one exchange by both faces. It gives the gRPC status, the REST answer,
// and what each face asked of the pipeline.
func (p presents) ask(t *testing.T, h *house) (*status.Status, answer, []exchange.Request) {
	t.Helper()
	in := goodRequest()
	if p.without {
		in.Audience = nil
	}
	in.ClientId, in.ClientSecret, in.ClientAssertion, in.ClientAssertionType = p.id, p.secret, p.assertion, p.assertionType
	before := h.bureau.count()
	ctx, headers := t.Context(), []string(nil)
	for _, a := range p.authorization {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
		headers = append(headers, "Authorization", a)
	}
	_, err := h.exchange.Exchange(ctx, in)
	body, marshalErr := json.Marshal(in) // the tags of the generated struct have the names of the .proto
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	rest := h.send(t, "POST", "/v1/exchanges", string(body), headers...)
	h.bureau.mu.Lock()
	defer h.bureau.mu.Unlock()
	return status.Convert(err), rest, append([]exchange.Request(nil), h.bureau.asked[before:]...)
}

// A registered client is proven in each of the token endpoint's ways, by both
// faces, and the pipeline learns of it what it learns there.
func TestClientsAuthenticateByBothFaces(t *testing.T) {
	h := openClients(t)
	for name, c := range map[string]struct {
		presents
		once bool
	}{
		"basic":                    {presents{authorization: []string{basic("desk", deskSecret)}}, false},
		"basic, any case":          {presents{authorization: []string{"bASIC" + basic("desk", deskSecret)[5:]}}, false},
		"basic, form-encoded":      {presents{authorization: []string{basic("%64esk", deskSecret)}}, false},
		"basic and its client_id":  {presents{authorization: []string{basic("desk", deskSecret)}, id: "desk"}, false},
		"post":                     {presents{id: "desk", secret: deskSecret}, false},
		"assertion":                {presents{assertion: deskAssertion, assertionType: assertionType}, true},
		"assertion, and client_id": {presents{assertion: deskAssertion, assertionType: assertionType, id: "desk"}, true},
		"default resource":         {presents{id: "desk", secret: deskSecret, without: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			code, rest, asked := c.ask(t, h)
			if code.Code() != codes.OK || rest.status != 200 || len(asked) != 2 {
				t.Fatalf("got %v, %d %s, and %d exchanges", code, rest.status, rest.body, len(asked))
			}
			for _, r := range asked {
				if r.Client != "desk" || r.ClientHash != [32]byte{1, 2, 3} || (r.ClientOnce != nil) != c.once ||
					r.Presenter == nil || r.Presenter.Name != "client:desk" || r.Self != nil || r.Grant != exchange.GrantTokenExchange {
					t.Errorf("%s: %+v", r.Door, r)
				}
				if c.without != (len(r.Resources) == 1 && r.Resources[0] == defaultResource && len(r.Audiences) == 0) {
					t.Errorf("%s: target %v %v", r.Door, r.Audiences, r.Resources)
				}
			}
		})
	}
}

// A wrong credential is a refusal by both faces, beside a subject token that would
// be enough by itself, too; nothing is asked of the pipeline.
func TestS17ClientCredentialFaults(t *testing.T) {
	var refused []exchange.Kind
	h := openClients(t, func(o *api.Options) { o.Refused = func(k exchange.Kind) { refused = append(refused, k) } })
	if code, rest, asked := (presents{}).ask(t, h); code.Code() != codes.OK || rest.status != 200 || asked[0].Client != "" || asked[0].Presenter != nil {
		t.Fatalf("without a client: %v, %d %s", code, rest.status, rest.body)
	}
	good := basic("desk", deskSecret)
	for name, c := range map[string]struct {
		presents
		kind   exchange.Kind
		advice string
	}{
		"unknown client":                {presents{id: "nobody", secret: deskSecret}, exchange.KindInvalidClient, "client authentication failed"},
		"wrong secret":                  {presents{id: "desk", secret: "hunter2"}, exchange.KindInvalidClient, "client authentication failed"},
		"secret of another":             {presents{id: "desk", secret: batchSecret}, exchange.KindInvalidClient, "client authentication failed"},
		"wrong secret, basic":           {presents{authorization: []string{basic("desk", "hunter2")}}, exchange.KindInvalidClient, "client authentication failed"},
		"unknown client, basic":         {presents{authorization: []string{basic("nobody", deskSecret)}}, exchange.KindInvalidClient, "client authentication failed"},
		"another's client_id":           {presents{authorization: []string{good}, id: "batch"}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header twice":                  {presents{authorization: []string{good, good}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header empty":                  {presents{authorization: []string{""}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header without base64":         {presents{authorization: []string{"Basic %%%"}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header without colon":          {presents{authorization: []string{"Basic ZGVzaw=="}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header without secret":         {presents{authorization: []string{basic("desk", "")}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header of another scheme":      {presents{authorization: []string{"DPoP x"}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"header too long":               {presents{authorization: []string{basic("desk", strings.Repeat("x", 3000))}}, exchange.KindInvalidClient, "leave out the Authorization header"},
		"bearer":                        {presents{authorization: []string{"Bearer " + auditor}}, exchange.KindInvalidClient, "takes no bearer token"},
		"bearer beside a good one":      {presents{authorization: []string{"Bearer " + auditor}, id: "desk", secret: deskSecret}, exchange.KindInvalidClient, "takes no bearer token"},
		"client_id alone":               {presents{id: "desk"}, exchange.KindInvalidClient, "leave out"},
		"secret alone":                  {presents{secret: deskSecret}, exchange.KindInvalidClient, "leave out"},
		"assertion of nobody":           {presents{assertion: "eyJ.other-secret.x", assertionType: assertionType}, exchange.KindInvalidClient, "client authentication failed"},
		"assertion of another":          {presents{assertion: deskAssertion, assertionType: assertionType, id: "batch"}, exchange.KindInvalidClient, "client authentication failed"},
		"assertion without type":        {presents{assertion: deskAssertion}, exchange.KindInvalidClient, "leave out"},
		"assertion of another type":     {presents{assertion: deskAssertion, assertionType: "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, exchange.KindInvalidClient, "leave out"},
		"type alone":                    {presents{assertionType: assertionType}, exchange.KindInvalidClient, "leave out"},
		"header and secret":             {presents{authorization: []string{good}, id: "desk", secret: deskSecret}, exchange.KindInvalidRequest, "use one"},
		"header and assertion":          {presents{authorization: []string{good}, assertion: deskAssertion, assertionType: assertionType}, exchange.KindInvalidRequest, "use one"},
		"secret and assertion":          {presents{id: "desk", secret: deskSecret, assertion: deskAssertion, assertionType: assertionType}, exchange.KindInvalidRequest, "use one"},
		"secret of two lines":           {presents{id: "desk", secret: deskSecret + "\n"}, exchange.KindInvalidRequest, "client_secret holds a control character"},
		"a grant that is not the grant": {presents{id: "batch", secret: batchSecret}, exchange.KindUnauthorizedClient, "this client may not use"},
	} {
		t.Run(name, func(t *testing.T) {
			refused = nil
			code, rest, asked := c.ask(t, h)
			row := server.RowOf(c.kind)
			rest.want(t, row.HTTP, row.OAuth, c.advice)
			if code.Code() != row.GRPC || !strings.Contains(code.Message(), c.advice) {
				t.Errorf("gRPC: %v, want %s with %q", code, row.GRPC, c.advice)
			}
			if info, _ := details(code); info == nil || info.GetMetadata()["error"] != row.OAuth {
				t.Errorf("details %v", code.Details())
			}
			challenge := rest.header.Get("WWW-Authenticate")
			scheme := "Basic"
			for _, a := range c.authorization {
				for _, known := range []string{"Bearer", "DPoP"} {
					if strings.HasPrefix(a, known) {
						scheme = known
					}
				}
			}
			if strings.HasPrefix(challenge, scheme+" ") != (row.HTTP == 401) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if len(asked) != 0 {
				t.Errorf("the pipeline was asked: %+v", asked)
			}
			if len(refused) != 2 || refused[0] != c.kind || refused[1] != c.kind {
				t.Errorf("counted %v", refused)
			}
			if strings.Contains(rest.body+code.Message(), "-secret") {
				t.Errorf("a secret is repeated: %s", rest.body)
			}
		})
	}
}

// Where no client is registered, one that presents itself is refused all the same.
func TestS17NoClientIsRegistered(t *testing.T) {
	h := open(t)
	code, rest, asked := presents{id: "desk", secret: deskSecret}.ask(t, h)
	rest.want(t, 401, "invalid_client", "client authentication failed")
	if code.Code() != codes.Unauthenticated || len(asked) != 0 {
		t.Errorf("%v, %d exchanges", code, len(asked))
	}
}

// A registry that is out of reach is no wrong credential.
func TestClientsOutOfReachAreUnavailable(t *testing.T) {
	h := open(t, func(o *api.Options) { o.Clients = registry{down: true} })
	code, rest, asked := presents{id: "desk", secret: deskSecret}.ask(t, h)
	rest.want(t, 503, "temporarily_unavailable", "try again")
	if code.Code() != codes.Unavailable || len(asked) != 0 || strings.Contains(rest.body+code.Message(), "10.9.8.7") {
		t.Errorf("%v, %d exchanges, %s", code, len(asked), rest.body)
	}
}

// Beside a client the tokens are read as ever.
func TestClientsChangeNoSyntax(t *testing.T) {
	h := openClients(t)
	_, err := h.exchange.Exchange(t.Context(), &cambiov1.ExchangeRequest{ClientId: "desk", ClientSecret: deskSecret})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "subject_token is missing") {
		t.Errorf("got %v", err)
	}
}
