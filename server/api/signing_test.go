package api_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server/api"
)

// pen signs whatever is asked, and remembers it.
type pen struct {
	asked []signing.Ask
	fails error
}

func (p *pen) Sign(_ context.Context, a signing.Ask) (signing.Signature, error) {
	p.asked = append(p.asked, a)
	return signing.Signature{Headers: map[string]string{"authorization": "Signature", "date": "now"}, Expires: noon.Add(time.Minute), Renew: noon}, p.fails
}

const signBody = `{"token":"session-secret","method":"POST","host":"a.example","path":"/x","query":"a=b",` +
	`"headers":{"content-type":"text/plain"},"body_sha256":"AQID","body_length":"3"}`

// TestS25SignTakesTwoProofs: the request reaches the desk as it was asked, with who
// asks; without a bearer token, or with one that is bad, nothing does.
func TestS25SignTakesTwoProofs(t *testing.T) {
	p := &pen{}
	h := open(t, func(o *api.Options) { o.Signer = p })
	path := "/v1/sessions/" + leaseID.String() + ":sign"
	code, got := h.call(t, "POST", path, nobody, signBody)
	headers, _ := got["headers"].(map[string]any)
	if code != http.StatusOK || headers["authorization"] != "Signature" || got["expire_time"] != noon.Add(time.Minute).Format(time.RFC3339) ||
		got["renew_time"] != noon.Format(time.RFC3339) {
		t.Fatalf("%d %v", code, got)
	}
	client := cambiov1.NewSigningServiceClient(h.conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+nobody)
	if _, err := client.Sign(ctx, &cambiov1.SignRequest{
		Session: leaseID.String(), Token: "session-secret", Method: "POST", Host: "a.example", Path: "/x", Query: "a=b",
		Headers: map[string]string{"content-type": "text/plain"}, BodySha256: []byte{1, 2, 3}, BodyLength: 3,
	}); err != nil {
		t.Fatal(err)
	}
	if len(p.asked) != 2 {
		t.Fatalf("asked %d times", len(p.asked))
	}
	for _, a := range p.asked {
		r := a.Request
		if a.Session != leaseID || a.Token.Reveal() != "session-secret" || a.Caller.Name != nemo || a.By.Subject != nemo || a.By.Door == "" || !a.ClientIP.IsValid() || r.Method != "POST" || r.Host != "a.example" ||
			r.Path != "/x" || r.Query != "a=b" || r.Headers["content-type"] != "text/plain" || !bytes.Equal(r.BodySHA256, []byte{1, 2, 3}) || r.BodyLength != 3 {
			t.Errorf("asked %+v", a)
		}
	}
	for name, c := range map[string]struct {
		path, token, body string
		want              int
	}{
		"no bearer":  {path, "", signBody, http.StatusUnauthorized},
		"bad bearer": {path, "forged", signBody, http.StatusUnauthorized},
		"no token":   {path, nobody, `{"method":"GET"}`, http.StatusBadRequest},
		"no session": {"/v1/sessions/x:sign", nobody, signBody, http.StatusBadRequest},
		"no digest":  {path, nobody, `{"token":"x","body_sha256":"!"}`, http.StatusBadRequest},
	} {
		if code, got := h.call(t, "POST", c.path, c.token, c.body); code != c.want {
			t.Errorf("%s: %d %v", name, code, got)
		}
	}
	if _, err := client.Sign(t.Context(), &cambiov1.SignRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("gRPC without a bearer: %v", err)
	}
	if len(p.asked) != 2 {
		t.Error("the desk was asked for them")
	}
	p.fails = exchange.Fault(exchange.KindNotFound, "there is no such session", nil)
	if code, _ := h.call(t, "POST", path, nobody, signBody); code != http.StatusNotFound {
		t.Errorf("no such session: %d", code)
	}
	none := open(t)
	if code, _ := none.call(t, "POST", path, nobody, signBody); code != http.StatusNotFound {
		t.Errorf("where none are held: %d", code)
	}
}
