package oauth_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// A wrong credential is a refusal; beside a subject token that would be enough by
// itself, too.
func TestS17WrongClientCredentialIsARefusal(t *testing.T) {
	d := openDoor(t)
	d.ask().wantIssued(t) // the same request, presenting nothing
	for name, pairs := range map[string][]string{
		"client_id":                        {"client_id", "gateway"},
		"client_secret":                    {"client_secret", "hunter2"},
		"client_id and client_secret":      {"client_id", "gateway", "client_secret", "hunter2"},
		"client_assertion":                 {"client_assertion", subject, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"an expired client_assertion":      {"client_assertion", "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjF9.AAAA", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"a client_assertion of dots":       {"client_assertion", strings.Repeat(".", 30000), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion_type alone":      {"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion without a type":  {"client_assertion", subject},
		"client_assertion of another type": {"client_assertion", subject, "client_assertion_type", "urn:example:x"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			d.ask(pairs...).wantFailure(t, http.StatusUnauthorized, "invalid_client")
			d.bureau.none()
			if len(d.refused) != 1 || d.refused[0] != exchange.KindInvalidClient {
				t.Errorf("counted %v", d.refused)
			}
		})
	}
	for _, header := range []string{"Basic Z2F0ZXdheTpodW50ZXIy", "Basic Og==", "Basic", "", "Bearer " + subject, "AWS4-HMAC-SHA256 x"} {
		t.Run("Authorization: "+strings.SplitN(header, " ", 2)[0], func(t *testing.T) {
			d := openDoor(t)
			d.send(with(), "Authorization", header).wantFailure(t, http.StatusUnauthorized, "invalid_client")
			d.bureau.none()
		})
	}
}

// An unknown and a refused target are one answer, byte for byte, headers too.
func TestS18UnknownAndRefusedTargetsLookAlike(t *testing.T) {
	d := openDoor(t)
	d.bureau.answer = func(r exchange.Request) (exchange.Receipt, error) {
		cause := exchange.Fault(exchange.KindInternal, "", http.ErrNoCookie)
		e := exchange.Fault(exchange.KindInvalidTarget, "no such target, or not for you", nil)
		if r.Audiences[0] == "bedrock" { // exists, and is refused: the operator reads why
			e.Err = cause
		}
		e.Exchange = exchangeID
		return exchange.Receipt{}, e
	}
	unknown, refused := d.ask("audience", "nowhere"), d.ask("audience", "bedrock")
	refused.wantFailure(t, http.StatusBadRequest, "invalid_target")
	for _, a := range []answer{unknown, refused} {
		a.header.Del("Date")
	}
	if unknown.text != refused.text || unknown.status != refused.status || !reflect.DeepEqual(unknown.header, refused.header) {
		t.Errorf("told apart:\n%d %v %s\n%d %v %s", unknown.status, unknown.header, unknown.text, refused.status, refused.header, refused.text)
	}
}

// This listener's peer is loopback, which it trusts as a proxy.
func TestS19ClientIPReachesTheExchange(t *testing.T) {
	for forwarded, want := range map[string]string{
		"": "127.0.0.1", "203.0.113.9": "203.0.113.9", "198.51.100.1, 203.0.113.9": "203.0.113.9",
		"203.0.113.9, 10.1.2.3": "203.0.113.9", "evil": "127.0.0.1",
	} {
		d := openDoor(t)
		if forwarded == "" {
			d.send(with()).wantIssued(t)
		} else {
			d.send(with(), "X-Forwarded-For", forwarded, "Forwarded", "for=192.0.2.1", "X-Real-Ip", "192.0.2.2").wantIssued(t)
		}
		if got := d.bureau.only().ClientIP.String(); got != want {
			t.Errorf("%q: %s", forwarded, got)
		}
	}
}

// The trace that a caller brings is the trace of the exchange.
func TestTheCallersTraceIsKept(t *testing.T) {
	d := openDoor(t)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	d.send(with(), "Traceparent", "00-"+trace+"-00f067aa0ba902b7-01").wantIssued(t)
	if got := d.bureau.only().TraceID; got != trace {
		t.Errorf("%q", got)
	}
	if !strings.Contains(d.log.String(), trace) {
		t.Error("the log does not say so")
	}
}

// S39, seen from outside: what came in is neither in the log nor in any answer,
// and what goes out is in one member of one answer. openDoor greps the log of
// every test of this package; here every parameter is a secret.
func TestS39NothingSecretIsLoggedOrRepeated(t *testing.T) {
	for _, kind := range exchange.Kinds() {
		d := openDoor(t)
		d.bureau.answer = refusing(kind, "no")
		a := d.ask("actor_token", actor, "actor_token_type", jwtType, "passthrough_token", passed)
		for _, s := range secrets {
			if strings.Contains(a.text, s) {
				t.Errorf("%s: the answer repeats %s", kind, s)
			}
		}
	}
	d := openDoor(t)
	a := d.ask("actor_token", actor, "actor_token_type", jwtType, "passthrough_token", passed)
	if strings.Count(a.text, issued) != 1 || strings.Contains(a.text, subject) {
		t.Errorf("got %s", a.text)
	}
}
