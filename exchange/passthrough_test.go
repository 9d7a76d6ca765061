package exchange_test

import (
	"context"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// passthroughs proves tokens that are listed for the subject they are of.
type passthroughs map[string]string

func (p passthroughs) VerifyPassthrough(_ context.Context, t exchange.Token, of exchange.Subject, _ time.Time) error {
	if p[t.Value.Reveal()] != of.Name {
		return exchange.Fault(exchange.KindInvalidRequest, "passthrough_token: not the subject's own", nil)
	}
	return nil
}

// TestS8PassthroughVerifiesOrNothingIsVended: a passthrough token reaches a driver
// only where it was proven to be of the very subject.
func TestS8PassthroughVerifiesOrNothingIsVended(t *testing.T) {
	with := func(token string) exchange.Request {
		r := request()
		r.PassthroughToken = exchange.Token{Value: exchange.NewSecret(token)}
		return r
	}
	self := func(token string) exchange.Request {
		r := with(token)
		r.SubjectToken, r.Client = exchange.Token{}, "gw"
		r.Self = &exchange.Subject{Name: "client:gw", Tenant: "default", Kind: exchange.TrustClient, ID: "gw", Expires: noon.Add(time.Hour)}
		return r
	}
	known := passthroughs{"token-for-the-cloud": "k8s:prod:llm:gateway", "somebody-elses": "k8s:prod:llm:other"}
	for name, c := range map[string]struct {
		prover  exchange.PassthroughVerifier
		request exchange.Request
		want    bool
	}{
		"the subject's own":         {known, with("token-for-the-cloud"), true},
		"somebody else's":           {known, with("somebody-elses"), false},
		"unknown":                   {known, with("who-knows"), false},
		"nobody proves it":          {nil, with("token-for-the-cloud"), false},
		"beside no subject's token": {known, self("token-for-the-cloud"), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, exchange.ModeUpstream)
			h.bureau.Passthrough = c.prover
			_, err := h.exchange(t.Context(), c.request)
			if c.want {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if exchange.KindOf(err) != exchange.KindInvalidRequest {
				t.Errorf("%v", err)
			}
			if len(h.vendor.grants) != 0 {
				t.Error("the vendor saw the grant")
			}
		})
	}
}
