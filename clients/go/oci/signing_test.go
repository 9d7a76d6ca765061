package oci_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/objectstorage"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

// signers is the part of the server that holds sessions. Its clock is an hour slow, as
// far as what it tells goes.
type signers struct {
	server *standin.Server
	oracle *oracle

	mu       sync.Mutex
	sessions map[string]*heldSession
	renews   bool // renew ahead, as the server does for a subject's own sessions
	signed   int
	odd      map[string]string // headers that have no business in a signature
	bearer   string            // who may have requests signed
}

type heldSession struct {
	token, oci string
	issued     time.Time
	expires    time.Time
	gone       bool
}

const slow = -time.Hour

func newSigners(t *testing.T, life time.Duration) (*standin.Server, *signers, *oci.SigningSession) {
	t.Helper()
	server := standin.New(t)
	s := &signers{server: server, oracle: newOracle(server.Clock), sessions: map[string]*heldSession{}, bearer: server.Subject()}
	t.Cleanup(s.oracle.server.Close)
	server.Serve("oci", func(form url.Values, n int) standin.Answer {
		if form.Has("public_key") || form.Get("requested_token_type") != cambio.TokenTypeOCISigningSession {
			return standin.Answer{Status: http.StatusBadRequest, Code: "invalid_request", Description: "a signing session has a key of its own"}
		}
		now := server.Clock.Now()
		id := fmt.Sprintf("0199a000-0000-7000-8000-%012d", n)
		held := &heldSession{token: rand.Text(), oci: s.oracle.issue(&theKey().PublicKey), issued: now, expires: now.Add(life)}
		s.mu.Lock()
		s.sessions[id] = held
		s.mu.Unlock()
		value, _ := json.Marshal(map[string]string{
			"session": id, "token": held.token, "region": "us-ashburn-1", "expires_at": held.expires.Add(slow).UTC().Format(time.RFC3339),
		})
		return standin.Answer{Value: string(value), Type: "N_A", IssuedTokenType: cambio.TokenTypeOCISigningSession, Life: life}
	})
	server.Mux.HandleFunc("POST /v1/sessions/", s.sign)
	session, err := oci.NewSigningSession(server.Client(), cambio.Request{Audience: "oci"})
	if err != nil {
		t.Fatal(err)
	}
	return server, s, session
}

// end has every session gone, as a revocation does.
func (s *signers) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.sessions {
		held.gone = true
	}
}

func (s *signers) sign(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "see the lists of the target"})
	}
	id, whole := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/sessions/"), ":sign")
	var ask struct {
		Token, Method, Host, Path, Query string
		Headers                          map[string]string
		Digest                           []byte `json:"body_sha256"`
		Length                           int64  `json:"body_length"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&ask); err != nil || !whole || r.Header.Get("Content-Type") != "application/json" {
		refuse(http.StatusBadRequest, "invalid_request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+s.bearer {
		refuse(http.StatusUnauthorized, "invalid_token")
		return
	}
	held, now := s.sessions[id], s.server.Clock.Now()
	switch {
	case held == nil || held.token != ask.Token || held.gone || !now.Before(held.expires):
		refuse(http.StatusNotFound, "invalid_request")
		return
	case ask.Host != strings.ToLower(ask.Host) || !strings.HasPrefix(ask.Path, "/") || ask.Path == "/forbidden":
		refuse(http.StatusForbidden, "access_denied")
		return
	}
	life := held.expires.Sub(held.issued)
	renew := held.expires.Add(-life / 5)
	if s.renews && !now.Before(renew) {
		held.issued, held.expires = now, now.Add(life) // what comes after sees it
	}
	target := ask.Path
	if ask.Query != "" {
		target += "?" + ask.Query
	}
	headers := map[string]string{"date": now.Add(slow).UTC().Format(http.TimeFormat)}
	names := []string{"date", "(request-target)", "host"}
	values := map[string]string{"(request-target)": strings.ToLower(ask.Method) + " " + target, "host": ask.Host}
	if slices.Contains([]string{"POST", "PUT", "PATCH"}, ask.Method) {
		if len(ask.Digest) != sha256.Size || ask.Headers["content-type"] == "" {
			refuse(http.StatusBadRequest, "invalid_request")
			return
		}
		headers["content-type"], headers["content-length"] = ask.Headers["content-type"], fmt.Sprint(ask.Length)
		headers["x-content-sha256"] = base64.StdEncoding.EncodeToString(ask.Digest)
		names = append(names, "content-length", "content-type", "x-content-sha256")
	}
	var lines []string
	for _, name := range names {
		value, ok := values[name]
		if !ok {
			value = headers[name]
		}
		lines = append(lines, name+": "+value)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, _ := rsa.SignPKCS1v15(rand.Reader, theKey(), crypto.SHA256, sum[:])
	headers["authorization"] = fmt.Sprintf(`Signature version="1",headers="%s",keyId="ST$%s",algorithm="rsa-sha256",signature="%s"`,
		strings.Join(names, " "), held.oci, base64.StdEncoding.EncodeToString(signature))
	for name, value := range s.odd {
		headers[name] = value
	}
	s.signed++
	_ = json.NewEncoder(w).Encode(map[string]any{
		"headers": headers, "expire_time": held.expires.Add(slow).UTC(), "renew_time": renew.Add(slow).UTC(),
	})
}

func send(t *testing.T, s *oci.SigningSession, o *oracle, method, path string) error {
	t.Helper()
	req := post(t, o.server.URL+path)
	req.Method = method
	if method == http.MethodGet {
		req.Body, req.ContentLength = nil, 0
	}
	if err := s.Sign(t.Context(), req); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("Oracle answers %d", resp.StatusCode)
	}
	return nil
}

func TestCambioSignsForOraclesClient(t *testing.T) {
	server, s, session := newSigners(t, time.Hour)
	// Its own configuration is not used to sign; it wants one to begin with.
	_, o, own := house(t, time.Hour)
	client := storage(t, o, own.Provider())
	client.Signer, client.Host = session.Signer(), s.oracle.server.URL
	if _, err := client.GetNamespace(t.Context(), objectstorage.GetNamespaceRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := client.CreateBucket(t.Context(), objectstorage.CreateBucketRequest{
		NamespaceName:       common.String("n"),
		CreateBucketDetails: objectstorage.CreateBucketDetails{Name: common.String("b"), CompartmentId: common.String("c")},
	}); err != nil {
		t.Error(err)
	}
	s.oracle.check(t)
	if n := server.Exchanges("oci"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestEveryMethodAndPathIsSignedAsItIsSent(t *testing.T) {
	_, s, session := newSigners(t, time.Hour)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH"} {
		for _, path := range []string{"", "/a%20b", "/n?x=1&y=%2F"} {
			if err := send(t, session, s.oracle, method, path); err != nil {
				t.Errorf("%s %q: %v", method, path, err)
			}
		}
	}
	s.oracle.check(t)
}

// A session that the server renews is used on, whatever the first answer said.
func TestARenewedSessionIsNotExchangedAgain(t *testing.T) {
	server, s, session := newSigners(t, 10*time.Minute)
	s.renews = true
	for range 30 {
		if err := send(t, session, s.oracle, "GET", "/n"); err != nil {
			t.Fatal(err)
		}
		server.Clock.Advance(time.Minute)
	}
	s.oracle.check(t)
	if n := server.Exchanges("oci"); n != 1 {
		t.Errorf("%d exchanges in half an hour, want 1", n)
	}
}

// One that is not renewed is replaced before it ends.
func TestASessionThatDoesNotMoveIsReplaced(t *testing.T) {
	server, s, session := newSigners(t, 10*time.Minute)
	for range 30 {
		if err := send(t, session, s.oracle, "GET", "/n"); err != nil {
			t.Fatal(err)
		}
		server.Clock.Advance(time.Minute)
	}
	s.oracle.check(t)
	if n := server.Exchanges("oci"); n < 3 || n > 5 {
		t.Errorf("%d exchanges in half an hour of ten minutes each", n)
	}
}

func TestASessionThatIsGoneIsReplacedOnce(t *testing.T) {
	server, s, session := newSigners(t, time.Hour)
	if err := send(t, session, s.oracle, "GET", "/n"); err != nil {
		t.Fatal(err)
	}
	s.end()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := send(t, session, s.oracle, "POST", "/n"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
	s.end()
	var refused *cambio.Error
	if err := send(t, session, s.oracle, "GET", "/n"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("a replacement that is gone at once: %v", err)
	}
	if n := server.Exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
	s.oracle.check(t)
}

// A session signs for its subject, or for the actor that it was made for.
func TestTheBearerIsSubjectOrActor(t *testing.T) {
	server, s, _ := newSigners(t, time.Hour)
	gateway := standin.JWT(map[string]any{"sub": "gateway"})
	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(gateway), ""))
	if err != nil {
		t.Fatal(err)
	}
	actor := standin.JWT(map[string]any{"sub": "agent"})
	user := cambio.Static(cambio.NewSecret(server.Subject()), "")
	agent := cambio.Static(cambio.NewSecret(actor), "")
	for name, c := range map[string]struct {
		client  *cambio.Client
		request cambio.Request
		bearer  string
	}{
		"the client alone":         {server.Client(), cambio.Request{}, server.Subject()},
		"an actor for the client":  {server.Client(), cambio.Request{Actor: agent}, server.Subject()},
		"the client for a user":    {client, cambio.Request{Subject: user}, gateway},
		"another actor for a user": {client, cambio.Request{Subject: user, Actor: agent}, actor},
		"a user alone":             {client, cambio.Request{Subject: user, Actor: cambio.NoActor}, server.Subject()},
	} {
		s.mu.Lock()
		s.bearer = c.bearer
		s.mu.Unlock()
		c.request.Audience = "oci"
		session, err := oci.NewSigningSession(c.client, c.request)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(t, session, s.oracle, "GET", "/n"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsSignedWithoutTheServer(t *testing.T) {
	server, s, session := newSigners(t, time.Hour)
	if err := send(t, session, s.oracle, "GET", "/n"); err != nil {
		t.Fatal(err)
	}
	server.Close()
	var refused *cambio.Error
	if err := send(t, session, s.oracle, "GET", "/n"); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable || !refused.Retryable {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNotListedIsAnError(t *testing.T) {
	server, s, session := newSigners(t, time.Hour)
	err := send(t, session, s.oracle, "GET", "/forbidden")
	var refused *cambio.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden || refused.Retryable {
		t.Errorf("error %v", err)
	}
	if n := server.Exchanges("oci"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestTheServerSetsNoOtherHeaders(t *testing.T) {
	_, s, session := newSigners(t, time.Hour)
	for _, odd := range []map[string]string{{"cookie": "a"}, {"authorization": "Bearer x"}, {"date": ""}} {
		s.odd = odd
		req := post(t, s.oracle.server.URL)
		if err := session.Sign(t.Context(), req); err == nil || req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "" {
			t.Errorf("%v was taken: %v", odd, err)
		}
	}
}

func TestASigningSessionOfAnotherTarget(t *testing.T) {
	for kind, want := range map[string]string{
		cambio.TokenTypeAccessToken: "with `signing`", cambio.TokenTypeOCIRPST: "use NewSession", cambio.TokenTypeOCISigningSession: "no JSON object",
	} {
		server, _, session := newSigners(t, time.Hour)
		server.Serve("oci", func(url.Values, int) standin.Answer {
			return standin.Answer{Value: `{"session":"../../v1/denies","token":"vended-secret-a"}`, Type: "N_A", IssuedTokenType: kind, Life: time.Hour}
		})
		err := session.Sign(t.Context(), post(t, "https://objectstorage.us-ashburn-1.oraclecloud.com/n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "vended-secret-") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestNewSigningSessionRefuses(t *testing.T) {
	client := standin.New(t).Client()
	for name, make := range map[string]func() (*oci.SigningSession, error){
		"no client": func() (*oci.SigningSession, error) { return oci.NewSigningSession(nil, cambio.Request{}) },
		"own key": func() (*oci.SigningSession, error) {
			return oci.NewSigningSession(client, cambio.Request{PublicKey: []byte{1}})
		},
		"another type": func() (*oci.SigningSession, error) {
			return oci.NewSigningSession(client, cambio.Request{TokenType: cambio.TokenTypeOCIRPST})
		},
	} {
		if session, err := make(); err == nil || session != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
