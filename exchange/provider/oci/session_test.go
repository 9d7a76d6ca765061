package oci_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// shelf holds sessions in memory.
type shelf struct {
	mu   sync.Mutex
	held map[exchange.ID]onShelf
	fail error
}

type onShelf struct {
	session         exchange.Session
	token, snapshot exchange.Secret
}

func (s *shelf) Hold(_ context.Context, session exchange.Session, token, snapshot exchange.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if _, twice := s.held[session.ID]; twice || session.Tenant == "" || session.Exchange.IsZero() {
		return errors.New("held already, or of nobody")
	}
	s.held[session.ID] = onShelf{session, token, snapshot}
	return nil
}

func (s *shelf) Held(_ context.Context, tenant string, id exchange.ID) (exchange.Secret, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[id]
	if !ok || h.session.Tenant != tenant {
		return exchange.Secret{}, time.Time{}, exchange.Fault(exchange.KindNotFound, "none", nil)
	}
	return h.snapshot, h.session.Expires, s.fail
}

func (s *shelf) Replace(_ context.Context, tenant string, id exchange.ID, was, snapshot exchange.Secret, expires time.Time) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[id]
	switch {
	case !ok || h.session.Tenant != tenant:
		return time.Time{}, exchange.Fault(exchange.KindNotFound, "none", nil)
	case !h.snapshot.Equal(was):
		return h.session.Expires, s.fail
	}
	h.snapshot, h.session.Expires = snapshot, expires
	s.held[id] = h
	return expires, s.fail
}

func (s *shelf) End(_ context.Context, _ string, id exchange.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, id)
	return nil
}

func (s *shelf) find(id string) (onShelf, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parsed, _ := exchange.ParseID(id)
	h, ok := s.held[parsed]
	return h, ok
}

// newSigningDesk is a desk whose target holds sessions.
func newSigningDesk(t testing.TB) (*desk, *shelf) {
	d := newDesk(t, func(_ *ocisandbox.Setup, s *oci.Settings) { s.Signing = &oci.Signing{} })
	*d.settings.Signing = oci.Signing{
		Hosts: []string{strings.TrimPrefix(d.server.URL, "https://")}, Methods: []string{"GET", "POST", "PUT"},
		Paths: []string{"/20231130/actions/chat", "/n/", "/n/*/b/*/o/**"},
	}
	s := &shelf{held: map[exchange.ID]onShelf{}}
	d.deps.Sessions = s
	return d, s
}

type sessionValue struct {
	Session string `json:"session"`
	Token   string `json:"token"`
}

// sign asks the driver, and sends what it signed without the SDK.
func (d *desk) sign(t testing.TB, s *shelf, c exchange.Credential, r exchange.SignRequest, body []byte) (int, []byte, error) {
	t.Helper()
	var v sessionValue
	if err := json.Unmarshal([]byte(c.Value.Reveal()), &v); err != nil {
		t.Fatal("the credential is no JSON")
	}
	held, ok := s.find(v.Session)
	if !ok {
		return 0, nil, errors.New("no such session")
	}
	if !held.token.Equal(exchange.NewSecret(v.Token)) {
		t.Error("the token is not the session's")
	}
	headers, err := d.open(t).(provider.Signer).Sign(t.Context(), d.grant(t).Target, held.snapshot, r)
	if err != nil {
		return 0, nil, err
	}
	target := "https://" + r.Host + r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	request, err := http.NewRequestWithContext(t.Context(), r.Method, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := d.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, text, nil
}

func (d *desk) get(path string) exchange.SignRequest {
	return exchange.SignRequest{Method: "GET", Host: d.settings.Signing.Hosts[0], Path: path}
}

func (d *desk) post(path string, body []byte) exchange.SignRequest {
	sum := sha256.Sum256(body)
	return exchange.SignRequest{
		Method: "POST", Host: d.settings.Signing.Hosts[0], Path: path, Headers: map[string]string{"content-type": "application/json"},
		BodySHA256: sum[:], BodyLength: int64(len(body)),
	}
}

// TestS25SuiteOfSessions: sessions pass the suite; what is honoured are requests that
// the driver signed, by a verifier that is not the SDK, for GET and for POST.
func TestS25SuiteOfSessions(t *testing.T) {
	d, s := newSigningDesk(t)
	h := d.harness(t)
	h.PublicKey = nil
	// A token in proof of possession is what the target gives by default.
	h.Config, h.Type = sessionsFirst{d.settings}, oci.TokenTypeSession
	h.Honour = func(t *testing.T, c exchange.Credential) (string, []string, error) {
		status, text, err := d.sign(t, s, c, d.get("/n/"), nil)
		var name string
		if err != nil || status != http.StatusOK || json.Unmarshal(text, &name) != nil {
			return "", nil, fmt.Errorf("GET is answered %d: %w", status, err)
		}
		status, text, err = d.sign(t, s, c, d.post("/20231130/actions/chat", []byte(chat)), []byte(chat))
		if err != nil || status != http.StatusOK || !bytes.Contains(text, []byte("You are "+name+".")) {
			return "", nil, fmt.Errorf("POST is answered %d: %w", status, err)
		}
		return subjectOf(name), nil, nil
	}
	providertest.Run(t, h)
}

// sessionsFirst lists the session first among the types, since the suite asks for
// none.
type sessionsFirst struct{ *oci.Settings }

func (s sessionsFirst) Facts() exchange.Facts {
	f := s.Settings.Facts()
	f.Types = []exchange.TokenType{oci.TokenTypeSession}
	return f
}

// TestS25WhoGetsASession: those who send no key, unless they ask for a token; and
// what cannot be held is not handed out.
func TestS25WhoGetsASession(t *testing.T) {
	d, s := newSigningDesk(t)
	key := d.grant(t).PublicKey
	for name, c := range map[string]struct {
		asked exchange.TokenType
		key   []byte
		want  exchange.TokenType // empty: refused
	}{
		"no key":               {"", nil, oci.TokenTypeSession},
		"no key, a session":    {oci.TokenTypeSession, nil, oci.TokenTypeSession},
		"no key, a token":      {oci.TokenTypeRPST, nil, ""},
		"a key":                {"", key, oci.TokenTypeRPST},
		"a key, a token":       {oci.TokenTypeRPST, key, oci.TokenTypeRPST},
		"a key, and a session": {oci.TokenTypeSession, key, ""},
	} {
		got, err := d.vend(t, func(g *exchange.Grant) { g.Type, g.PublicKey = c.asked, c.key })
		if got.IssuedType != c.want || c.want == "" && exchange.KindOf(err) != exchange.KindInvalidRequest {
			t.Errorf("%s: %s: %v", name, got.IssuedType, err)
		}
		if strings.Contains(got.Value.Reveal(), "PRIVATE") || got.IssuedType == oci.TokenTypeSession && strings.Contains(got.Value.Reveal(), "eyJ") {
			t.Errorf("%s: the value holds what signs", name)
		}
	}
	s.fail = errors.New("no disk")
	if got, err := d.vend(t, func(g *exchange.Grant) { g.PublicKey = nil }); exchange.KindOf(err) != exchange.KindUnavailable || !got.Value.IsZero() {
		t.Errorf("not held: %v", err)
	}
	d.deps.Sessions = nil
	if _, err := d.settings.Open(d.deps); err == nil {
		t.Error("it opens where nobody holds sessions")
	}
}

// TestS25WhatIsSigned: nothing but what the target lists, read in one way only.
func TestS25WhatIsSigned(t *testing.T) {
	d, s := newSigningDesk(t)
	c, err := d.vend(t, func(g *exchange.Grant) { g.PublicKey = nil })
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(chat)
	for name, r := range map[string]exchange.SignRequest{
		"GET": d.get("/n/"), "an object": d.get("/n/ns/b/bucket/o/a%20name/deeper"),
		"POST": d.post("/20231130/actions/chat", body),
	} {
		var sent []byte
		if r.BodySHA256 != nil {
			sent = body
		}
		if status, _, err := d.sign(t, s, c, r, sent); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d: %v", name, status, err)
		}
	}
	query := d.get("/n/ns/b/bucket/o/x")
	query.Query = "versionId=a%2Fb&x=1"
	if status, text, err := d.sign(t, s, c, query, nil); err != nil || status != http.StatusOK || !bytes.HasSuffix(text, []byte("?versionId=a%2Fb&x=1")) {
		t.Errorf("a query: %d: %v", status, err)
	}
	for name, change := range map[string]func(*exchange.SignRequest){
		"a path that is not listed": func(r *exchange.SignRequest) { r.Path = "/20231130/actions/embedText" },
		"below a listed path":       func(r *exchange.SignRequest) { r.Path += "/x" },
		"above one":                 func(r *exchange.SignRequest) { r.Path = "/20231130/actions" },
		"another host":              func(r *exchange.SignRequest) { r.Host = "identity.us-ashburn-1.oraclecloud.com" },
		"a method not listed":       func(r *exchange.SignRequest) { r.Method = "PATCH" },
	} {
		r := d.post("/20231130/actions/chat", body)
		change(&r)
		if _, _, err := d.sign(t, s, c, r, body); exchange.KindOf(err) != exchange.KindPermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*exchange.SignRequest){
		"dots":                      func(r *exchange.SignRequest) { r.Path = "/n/a/../b" },
		"a dot":                     func(r *exchange.SignRequest) { r.Path = "/./20231130/actions/chat" },
		"two slashes":               func(r *exchange.SignRequest) { r.Path = "/20231130//actions/chat" },
		"an encoded slash":          func(r *exchange.SignRequest) { r.Path = "/20231130%2Factions/chat" },
		"in lower case":             func(r *exchange.SignRequest) { r.Path = "/20231130%2factions/chat" },
		"encoded dots":              func(r *exchange.SignRequest) { r.Path = "/n/%2E%2E/b" },
		"encoded letters":           func(r *exchange.SignRequest) { r.Path = "/20231130/actions/%63hat" },
		"encoded twice":             func(r *exchange.SignRequest) { r.Path = "/n/%252F" },
		"a backslash":               func(r *exchange.SignRequest) { r.Path = `/n\a` },
		"parameters":                func(r *exchange.SignRequest) { r.Path = "/20231130/actions/chat;x=1" },
		"a line break":              func(r *exchange.SignRequest) { r.Path = "/n/\nhost: x" },
		"an encoded line break":     func(r *exchange.SignRequest) { r.Path = "/n/%0A" },
		"a null":                    func(r *exchange.SignRequest) { r.Path = "/n/%00" },
		"a question mark":           func(r *exchange.SignRequest) { r.Path += "?x" },
		"a fragment":                func(r *exchange.SignRequest) { r.Path += "#x" },
		"no path":                   func(r *exchange.SignRequest) { r.Path = "" },
		"an absolute form":          func(r *exchange.SignRequest) { r.Path = "https://x/" },
		"a star":                    func(r *exchange.SignRequest) { r.Path = "*" },
		"a cut escape":              func(r *exchange.SignRequest) { r.Path = "/n/%2" },
		"a long path":               func(r *exchange.SignRequest) { r.Path = "/" + strings.Repeat("x", 5000) },
		"a query with a line break": func(r *exchange.SignRequest) { r.Query = "a=\r\nb" },
		"a query with a space":      func(r *exchange.SignRequest) { r.Query = "a b" },
		"a query with a fragment":   func(r *exchange.SignRequest) { r.Query = "a#b" },
		"no host":                   func(r *exchange.SignRequest) { r.Host = "" },
		"a host in upper case":      func(r *exchange.SignRequest) { r.Host = strings.ToUpper("objectstorage.example") },
		"a host with a user":        func(r *exchange.SignRequest) { r.Host = "a@" + r.Host },
		"a host with a path":        func(r *exchange.SignRequest) { r.Host += "/n" },
		"a pattern for a host":      func(r *exchange.SignRequest) { r.Host = "*.example.com" },
		"a method in lower case":    func(r *exchange.SignRequest) { r.Method = "post" },
		"CONNECT":                   func(r *exchange.SignRequest) { r.Method = "CONNECT" },
		"no digest":                 func(r *exchange.SignRequest) { r.BodySHA256 = nil },
		"a short digest":            func(r *exchange.SignRequest) { r.BodySHA256 = r.BodySHA256[:31] },
		"a negative length":         func(r *exchange.SignRequest) { r.BodyLength = -1 },
		"no content-type":           func(r *exchange.SignRequest) { r.Headers = nil },
		"a GET with a body":         func(r *exchange.SignRequest) { r.Method = "GET" },
		"a date":                    func(r *exchange.SignRequest) { r.Headers["date"] = "Sat, 21 Nov 2099 12:00:00 GMT" },
		"x-date":                    func(r *exchange.SignRequest) { r.Headers["x-date"] = "x" },
		"a digest":                  func(r *exchange.SignRequest) { r.Headers["x-content-sha256"] = "x" },
		"another's token":           func(r *exchange.SignRequest) { r.Headers["opc-obo-token"] = "x" },
		"the request target":        func(r *exchange.SignRequest) { r.Headers["(request-target)"] = "get /" },
		"a header in upper case":    func(r *exchange.SignRequest) { r.Headers["Opc-Request-Id"] = "x" },
		"a header with a break":     func(r *exchange.SignRequest) { r.Headers["opc-request-id"] = "x\r\ny: z" },
		"a header with space":       func(r *exchange.SignRequest) { r.Headers["opc-request-id"] = " x" },
		"many headers": func(r *exchange.SignRequest) {
			for n := range 20 {
				r.Headers[fmt.Sprintf("x-%d", n)] = "x"
			}
		},
	} {
		r := d.post("/20231130/actions/chat", body)
		change(&r)
		if _, _, err := d.sign(t, s, c, r, body); exchange.KindOf(err) != exchange.KindInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSign: whatever is asked, what is signed is of a listed host and path, and
// stands on the wire as it was asked.
func FuzzSign(f *testing.F) {
	d, s := newSigningDesk(f)
	c, err := d.vend(f, func(g *exchange.Grant) { g.PublicKey = nil })
	if err != nil {
		f.Fatal(err)
	}
	var v sessionValue
	if err := json.Unmarshal([]byte(c.Value.Reveal()), &v); err != nil {
		f.Fatal(err)
	}
	held, _ := s.find(v.Session)
	signer, target := d.open(f).(provider.Signer), d.grant(f).Target
	for _, path := range []string{"/n/", "/n/a/b/c/o/d", "/n/a/b/c/o/..%2F", "/n/a/b/c/o/%2e", "//n/", "/n/a/b/c/o/\x7f"} {
		f.Add(d.settings.Signing.Hosts[0], path, "a=b", "x-y", "z")
	}
	f.Fuzz(func(t *testing.T, host, path, query, name, value string) {
		headers, err := signer.Sign(t.Context(), target, held.snapshot, exchange.SignRequest{
			Method: "GET", Host: host, Path: path, Query: query, Headers: map[string]string{name: value},
		})
		if err != nil {
			return
		}
		if host != d.settings.Signing.Hosts[0] || path != "/n/" && (!strings.HasPrefix(path, "/n/") || !strings.Contains(path, "/o/")) ||
			strings.Contains(path, "//") || strings.Contains(path, "..") || strings.ContainsAny(path+query+value, "\r\n\x00") {
			t.Errorf("signed for %q %q %q", host, path, query)
		}
		if date, err := http.ParseTime(headers["date"]); err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("dated %q", headers["date"])
		}
	})
}

func TestSigningSettingsAreChecked(t *testing.T) {
	d := newDesk(t)
	d.settings.Domain = "https://idcs-0.identity.oraclecloud.com"
	good := oci.Signing{Hosts: []string{"*.us-ashburn-1.oraclecloud.com", "a.example:8443"}, Methods: []string{"GET"}, Paths: []string{"/", "/n/*/b/**", "/n/"}}
	d.settings.Signing = &good
	if faults := d.settings.Validate(); len(faults) > 0 {
		t.Error(faults)
	}
	for name, bad := range map[string]oci.Signing{
		"nothing":        {},
		"every host":     {Hosts: []string{"*"}, Methods: good.Methods, Paths: good.Paths},
		"every com":      {Hosts: []string{"*.com"}, Methods: good.Methods, Paths: good.Paths},
		"a star inside":  {Hosts: []string{"a.*.example"}, Methods: good.Methods, Paths: good.Paths},
		"a URL":          {Hosts: []string{"https://a.example"}, Methods: good.Methods, Paths: good.Paths},
		"any method":     {Hosts: good.Hosts, Methods: []string{"*"}, Paths: good.Paths},
		"lower case":     {Hosts: good.Hosts, Methods: []string{"get"}, Paths: good.Paths},
		"relative":       {Hosts: good.Hosts, Methods: good.Methods, Paths: []string{"n/x"}},
		"stars early":    {Hosts: good.Hosts, Methods: good.Methods, Paths: []string{"/**/x"}},
		"half a segment": {Hosts: good.Hosts, Methods: good.Methods, Paths: []string{"/n/a*"}},
		"dots":           {Hosts: good.Hosts, Methods: good.Methods, Paths: []string{"/n/../x"}},
		"two slashes":    {Hosts: good.Hosts, Methods: good.Methods, Paths: []string{"/n//x"}},
	} {
		d.settings.Signing = &bad
		if faults := d.settings.Validate(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "signing: ") {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
