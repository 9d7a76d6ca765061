package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestSandboxFindsKeys: by the issuer's discovery document and by nothing else.
func TestSandboxFindsKeys(t *testing.T) {
	var document, keys func(w http.ResponseWriter, self string)
	var self string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/federation/.well-known/openid-configuration":
			document(w, self)
		case "/keys":
			keys(w, self)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	self = server.URL
	say := func(format string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, self string) {
			_, _ = w.Write([]byte(strings.ReplaceAll(format, "SELF", self)))
		}
	}
	const good, set = `{"issuer":"SELF/federation","jwks_uri":"SELF/keys"}`, `{"keys":[]}`
	for name, c := range map[string]struct {
		document, keys func(http.ResponseWriter, string)
		want           string
	}{
		"good":           {say(good), say(set), ""},
		"not JSON":       {say("<html>"), say(set), "no JSON object"},
		"another issuer": {say(`{"issuer":"SELF","jwks_uri":"SELF/keys"}`), say(set), "is of"},
		"no keys named":  {say(`{"issuer":"SELF/federation"}`), say(set), "jwks_uri"},
		"keys in clear":  {say(`{"issuer":"SELF/federation","jwks_uri":"http://keys.example/"}`), say(set), "by https only"},
		"keys are none":  {say(good), say(`{"kty":"RSA"}`), "no JWK Set"},
		"too many keys":  {say(good), say(strings.Repeat(" ", maxKeySet+1)), "over 1048576 bytes"},
		"redirect": {func(w http.ResponseWriter, self string) {
			w.Header().Set("Location", self+"/keys")
			w.WriteHeader(http.StatusFound)
		}, say(set),
			"answered 302"},
		"keys away": {say(good), func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusServiceUnavailable) }, "answered 503"},
	} {
		document, keys = c.document, c.keys
		d, err := discover(t.Context(), server.URL+"/federation")
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && string(d.keys()) != set:
			t.Errorf("%s: %s", name, d.keys())
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

// FuzzCheckKeySet: a file, or what an issuer published.
func FuzzCheckKeySet(f *testing.F) {
	for _, seed := range []string{`{"keys":[]}`, `{"keys":[{"kty":"RSA"}]}`, `{"keys":null}`, `{}`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkKeySet(text) == nil && !json.Valid(text) {
			t.Errorf("%q was taken", text)
		}
	})
}

// FuzzReadCredential: what somebody else than Cambio may answer.
func FuzzReadCredential(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`,
		`{"access_token":"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"b'c\"}","issued_token_type":"urn:cambio:token-type:aws-credentials"}`,
		`{"access_token":"{\"token\":\"a\\nb\"}","issued_token_type":"urn:oci:token-type:oci-rpst"}`, `{"access_token":7}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := readCredential(body)
		if err != nil {
			return
		}
		var b strings.Builder
		if err := c.printEnvironment(&b, defaultVariable); err != nil {
			return
		}
		if text := b.String(); text != "" && !strings.HasSuffix(text, "\n") {
			t.Errorf("%q is no list of variables", text)
		}
	})
}
