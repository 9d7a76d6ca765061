package oauth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

func TestRFC6749Section3_2OnlyPOST(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		d := openDoor(t)
		r, err := http.NewRequest(method, d.url+"/oauth2/token", strings.NewReader(with()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := d.do(r)
		if method == "HEAD" {
			if a.status != http.StatusMethodNotAllowed {
				t.Errorf("HEAD: %d", a.status)
			}
		} else {
			a.wantFailure(t, http.StatusMethodNotAllowed, "invalid_request")
		}
		if a.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", method, a.header.Get("Allow"))
		}
		d.bureau.none()
	}
}

func TestRFC6749Section3_2RepeatedParametersAreRefused(t *testing.T) {
	for _, name := range []string{
		"grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "scope",
		"requested_token_type", "requested_lifetime", "public_key", "passthrough_token", "reason", "rejected_sha256", "client_id", "foreign",
	} {
		for _, twice := range []string{"=a&" + name + "=a", "=a&" + name + "=b", "=&" + name + "=a", "=a&" + name, "=a&" + name[:1] + "%" + hexOf(name[1]) + name[2:] + "=b"} {
			d := openDoor(t)
			body := "subject_token_type=" + jwtType
			if name != "grant_type" {
				body = "grant_type=" + server.GrantTokenExchange
			}
			d.send(body+"&"+name+twice).wantFailure(t, http.StatusBadRequest, "invalid_request")
			d.bureau.none()
		}
	}
}

func hexOf(c byte) string { return string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]) }

func TestRFC6749Section3_2ResourceAndAudienceMayRepeat(t *testing.T) {
	d := openDoor(t)
	d.ask("audience", "a", "audience", "a", "resource", "https://b.example", "resource", "https://b.example").wantIssued(t)
	if r := d.bureau.only(); len(r.Audiences) != 2 || len(r.Resources) != 2 {
		t.Errorf("%q %q", r.Audiences, r.Resources)
	}
}

func TestRFC6749Section3_2EmptyParametersAreLeftOut(t *testing.T) {
	d := openDoor(t)
	d.send(with() + "&actor_token=&actor_token_type=&scope=&requested_token_type=&requested_lifetime=&public_key=&passthrough_token&reason=" +
		"&client_id=&client_secret=&client_assertion=&client_assertion_type=&resource=&audience=&code=").wantIssued(t)
	r := d.bureau.only()
	if !r.ActorToken.IsZero() || r.Scopes != nil || r.Lifetime != 0 || r.Resources != nil || len(r.Audiences) != 1 {
		t.Errorf("%+v", r)
	}
	d = openDoor(t)
	d.send("grant_type="+server.GrantTokenExchange+"&subject_token=&subject_token_type="+jwtType).wantFailure(t, http.StatusBadRequest, "invalid_request")
	d.send("grant_type=&subject_token="+subject).wantFailure(t, http.StatusBadRequest, "invalid_request")
}

// Parameters that nobody knows are ignored.
func TestRFC6749Section3_2UnknownParametersAreIgnored(t *testing.T) {
	d := openDoor(t)
	d.send(with() + "&code=x&redirect_uri=https%3A%2F%2Fa.example&dpop_jkt=y&%C3%A9=1").wantIssued(t)
}

func TestRFC6749Section3_3ScopeSyntax(t *testing.T) {
	for name, scope := range map[string]string{
		"two spaces": "a  b", "leading space": " a", "trailing space": "a ", "quote": `a"b`, "backslash": `a\b`,
		"accent": "é", "too long": strings.Repeat("a", 257), "too many": strings.Repeat("a ", 64) + "b", "only a space": " ",
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			d.ask("scope", scope).wantFailure(t, http.StatusBadRequest, "invalid_scope")
			d.bureau.none()
		})
	}
	d := openDoor(t)
	every := make([]byte, 0, 94)
	for c := byte(0x21); c <= 0x7e; c++ {
		if c != '"' && c != '\\' {
			every = append(every, c)
		}
	}
	d.ask("scope", string(every)).wantIssued(t)
	if r := d.bureau.only(); len(r.Scopes) != 1 || r.Scopes[0] != string(every) {
		t.Errorf("%q", r.Scopes)
	}
}

func TestRFC6749Section5_1AnswersAreNotKept(t *testing.T) {
	d := openDoor(t)
	d.ask().wantUnkept(t)
	d.ask("subject_token", "").wantUnkept(t)
}

func TestRFC6749Section5_2UnknownGrant(t *testing.T) {
	for _, grant := range []string{
		"authorization_code", "password", "Client_Credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:saml2-bearer",
		server.GrantTokenExchange + " ", " " + server.GrantTokenExchange, server.GrantTokenExchange + " " + server.GrantTokenExchange,
		"client_credentials " + server.GrantTokenExchange, strings.ToUpper(server.GrantTokenExchange), "é",
	} {
		d := openDoor(t)
		d.ask("grant_type", grant).wantFailure(t, http.StatusBadRequest, "unsupported_grant_type")
		d.bureau.none()
		if len(d.refused) != 1 || d.refused[0] != exchange.KindUnsupportedGrant {
			t.Errorf("counted as %v", d.refused)
		}
	}
	d := openDoor(t)
	d.ask("grant_type", "").wantFailure(t, http.StatusBadRequest, "invalid_request")
}

func TestRFC6749Section5_2FailedClientAuthenticationIs401(t *testing.T) {
	for header, scheme := range map[string]string{
		"Basic " + "Y2xpZW50OnNlY3JldA==": "Basic ", "Bearer " + subject: "Bearer ", "bearer x": "Bearer ", "DPoP x": "DPoP ",
		"Negotiate x": "Basic ", "": "Basic ", "garbage": "Basic ",
	} {
		d := openDoor(t)
		a := d.send(with(), "Authorization", header)
		a.wantFailure(t, http.StatusUnauthorized, "invalid_client")
		if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, scheme) {
			t.Errorf("%q is challenged with %q", header, got)
		}
		d.bureau.none()
	}
}
