package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// settle is how long a renewal at the server may take until answers show it.
const settle = 10 * time.Second

// SigningSession has each request signed by Cambio, which holds the key and signs what
// the target lists ("Signing sessions" in docs/api.md). It is for workloads that shall
// have no key. It is safe for concurrent use.
type SigningSession struct {
	client *cambio.Client
	source *cambio.TokenSource
	bearer cambio.Identity

	current  atomic.Pointer[session]
	renewing atomic.Bool
}

// NewSigningSession makes a session for the request, whose TokenType it sets. Nothing is
// asked of the server yet. Ask for the Lifetime that the session is to have in all: the
// server renews it while it is used, and no further.
func NewSigningSession(client *cambio.Client, request cambio.Request) (*SigningSession, error) {
	switch {
	case client == nil:
		return nil, errors.New("oci: a session wants a client")
	case len(request.PublicKey) > 0:
		return nil, errors.New("oci: a signing session has a key at the server: leave PublicKey out, or use NewSession")
	case request.TokenType != "" && request.TokenType != cambio.TokenTypeOCISigningSession:
		return nil, fmt.Errorf("oci: %q is no signing session: leave TokenType out, or use NewSession", request.TokenType)
	}
	request.TokenType = cambio.TokenTypeOCISigningSession
	// To sign takes a token of the subject, or of the actor that the session was made
	// for; with a subject of the request's own that is whoever acts for it.
	bearer := client.Identity()
	switch {
	case request.Subject == nil:
	case request.Actor == cambio.NoActor:
		bearer = request.Subject
	case request.Actor != nil:
		bearer = request.Actor
	}
	return &SigningSession{client: client, source: client.TokenSource(request), bearer: bearer}, nil
}

// Source is where the sessions come from.
func (s *SigningSession) Source() *cambio.TokenSource { return s.source }

// Signer is the session for what takes an HTTPRequestSigner, such as BaseClient.Signer
// of Oracle's clients. Uploads to Object Storage want Session.Provider: the SDK signs
// them by itself.
func (s *SigningSession) Signer() common.HTTPRequestSigner { return signer{s.Sign} }

// Sign has a request signed. The server is told method, host, path and query, content
// type, and length and digest of a body, which is read into memory; never the body. A
// session that is gone, revoked for example, is replaced once.
func (s *SigningSession) Sign(ctx context.Context, req *http.Request) error {
	if err := signable(req); err != nil {
		return err
	}
	prepare(req)
	ask, err := question(req)
	if err != nil {
		return err
	}
	req.Host = ask.Host // as it is signed
	held, err := s.session(ctx)
	if err != nil {
		return err
	}
	answer, err := s.ask(ctx, held, ask)
	var refused *cambio.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		if held, err = s.replace(ctx, held); err != nil {
			return err
		}
		answer, err = s.ask(ctx, held, ask)
	}
	if err != nil {
		return err
	}
	for name, value := range answer.Headers {
		if name == "host" {
			continue // net/http sends req.Host
		}
		req.Header.Set(name, value)
	}
	return nil
}

// order is a request to sign, as the REST face has it.
type order struct {
	Token   string            `json:"token"`
	Method  string            `json:"method"`
	Host    string            `json:"host"`
	Path    string            `json:"path"`
	Query   string            `json:"query,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Digest  string            `json:"body_sha256,omitempty"`
	Length  int64             `json:"body_length,omitempty"`
}

// signature is the answer.
type signature struct {
	Headers map[string]string `json:"headers"`
	Expires time.Time         `json:"expire_time"`
	Renews  time.Time         `json:"renew_time"`
}

// question is what a request's signature covers.
func question(req *http.Request) (order, error) {
	o := order{Method: req.Method, Host: strings.ToLower(req.URL.Host), Path: req.URL.EscapedPath(), Query: req.URL.RawQuery}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	if o.Path == "" {
		o.Path = "/"
	}
	if !hasBody(o.Method) {
		return o, nil
	}
	o.Headers = map[string]string{"content-type": req.Header.Get("Content-Type")}
	digest, err := common.GetBodyHash(req)
	if err != nil {
		return order{}, fmt.Errorf("oci: %w", err)
	}
	o.Digest, o.Length = digest, req.ContentLength
	return o, nil
}

// ask has the server sign, and learns from the answer until when it will.
func (s *SigningSession) ask(ctx context.Context, held *session, o order) (*signature, error) {
	o.Token = held.token.Reveal()
	began := s.source.Now()
	var answer signature
	if err := s.client.Call(ctx, s.bearer, "/v1/sessions/"+held.id+":sign", o, &answer); err != nil {
		return nil, err
	}
	if err := answer.check(); err != nil {
		return nil, err
	}
	if held.learn(&answer, began) && s.renewing.CompareAndSwap(false, true) {
		go func() {
			defer s.renewing.Store(false)
			// Not for this request, which is signed. Should it fail, a later one tries.
			_, _ = s.replace(context.Background(), held)
		}()
	}
	return &answer, nil
}
