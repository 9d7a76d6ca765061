package azure

import (
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// FuzzRefusal: whatever Entra says, it becomes an error of the house that repeats
// none of it but codes.
func FuzzRefusal(f *testing.F) {
	for _, body := range []string{
		`{"error":"invalid_client","error_description":"AADSTS700213: No match.","error_codes":[700213],"trace_id":"255d1aef-8c98-452f-ac51-23d051240864"}`,
		`{"error":"invalid_client","error_description":"AADSTS50027: eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}`,
		`{"error_codes":["x"]}`, `{"error":1}`, `{"error_codes":[-5]}`, `<html>`, ``, `{"error":"eyJ.e30.c2ln"}`,
	} {
		f.Add(uint8(0), body)
		f.Add(uint8(103), body)
	}
	f.Fuzz(func(t *testing.T, above uint8, body string) {
		err := (&driver{}).explain(readRefusal(providertest.Refused(t, 400+int(above)%200, body)), nil)
		e, ok := err.(*exchange.Error)
		if !ok || e.Advice == "" {
			t.Fatalf("%v", err)
		}
		switch e.Kind {
		case exchange.KindMisconfigured, exchange.KindProviderRefused, exchange.KindThrottled, exchange.KindUnavailable:
		default:
			t.Errorf("kind %v", e.Kind)
		}
		if strings.Contains(err.Error(), ".e30.") {
			t.Errorf("it repeats a token: %v", err)
		}
	})
}

// FuzzUniqueID: what is read without verification is a short word, or nothing.
func FuzzUniqueID(f *testing.F) {
	for _, token := range []string{"", "a.b.c", "e30.eyJ1dGkiOiJhYmMifQ.c2ln", "e30.eyJ1dGkiOiJhIGIifQ.c2ln", "e30.eyJ1dGkiOjF9.c2ln", "e30.e30"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id := uniqueID(exchange.NewSecret(token))
		if len(id) > 64 || strings.ContainsAny(id, " .:/\n") {
			t.Errorf("%q", id)
		}
	})
}

// TestKnownCodes: each says what to change, to the caller and to the operator.
func TestKnownCodes(t *testing.T) {
	for code, k := range codes {
		if k.kind == exchange.KindInternal || k.advice == "" || k.why == "" {
			t.Errorf("AADSTS%d: %+v", code, k)
		}
		if k.kind == exchange.KindMisconfigured && !strings.Contains(k.advice, "operator") {
			t.Errorf("AADSTS%d: nobody is named: %s", code, k.advice)
		}
	}
}

// TestUnknownCodes are classified by what RFC 6749 §5.2 and the status say.
func TestUnknownCodes(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   exchange.Kind
	}{
		{400, `{"error":"invalid_grant","error_codes":[1]}`, exchange.KindProviderRefused},
		{400, `{"error":"interaction_required"}`, exchange.KindProviderRefused},
		{401, `{"error":"invalid_client","error_codes":[1]}`, exchange.KindMisconfigured},
		{400, `{"error":"invalid_scope"}`, exchange.KindMisconfigured},
		{400, `{"error":"temporarily_unavailable"}`, exchange.KindUnavailable},
		{429, `{"error":"invalid_client","error_codes":[700016]}`, exchange.KindThrottled},
		{429, ``, exchange.KindThrottled},
		{500, `{"error":"server_error"}`, exchange.KindUnavailable},
		{403, `<html>`, exchange.KindUnavailable},
	} {
		if got := readRefusal(providertest.Refused(t, c.status, c.body)).kind(); got != c.want {
			t.Errorf("%d %s: %v, want %v", c.status, c.body, got, c.want)
		}
	}
}
