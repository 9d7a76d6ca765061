package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

// What the commands accept from files and from a server.
const (
	defaultData   = "./cambio-dev"
	maxTokenBytes = 64 << 10
	maxAnswer     = 8 << 20
	answerTimeout = 30 * time.Second
)

// reach is how an operator's command finds the server.
type reach struct {
	url, tokenFile, caFile, data string
	// operator: from a running dev the operator's token is taken, and not the
	// auditor's.
	operator bool
}

// addReach gives a command the flags of reach. needsToken adds --token-file.
func addReach(cmd *cobra.Command, r *reach, needsToken bool) {
	f := cmd.Flags()
	f.StringVar(&r.url, "url", "", "the server's URL (or CAMBIO_URL; else the cambio dev that runs from --data)")
	if needsToken {
		who := "auditor"
		if r.operator {
			who = "operator"
		}
		f.StringVar(&r.tokenFile, "token-file", "", "file of your bearer token (or CAMBIO_TOKEN_FILE; else that dev's "+who+")")
	}
	f.StringVar(&r.caFile, "ca-file", "", "PEM file of the roots to trust (or CAMBIO_CA_FILE; else the system's)")
	f.StringVar(&r.data, "data", defaultData, "data folder of a running cambio dev")
}

// remote is a server found, with a client for it.
type remote struct {
	base  *url.URL
	token exchange.Secret // empty: none is presented
	http  *http.Client
	dev   string // data folder that named it; empty: a person did
}

// find settles where the server is. A flag wins over the environment, and either
// over a data folder; but a --data that was given wins over the environment.
func (r *reach) find(cmd *cobra.Command, needsToken bool) (*remote, error) {
	chosen := cmd.Flags().Changed("data")
	environ := func(name string) string {
		if chosen {
			return ""
		}
		return os.Getenv(name)
	}
	where, caFile, tokenFile := either(r.url, environ("CAMBIO_URL")), either(r.caFile, environ("CAMBIO_CA_FILE")), either(r.tokenFile, environ("CAMBIO_TOKEN_FILE"))
	dev := ""
	if where == "" {
		ready, err := devworld.FindReady(r.data)
		if errors.Is(err, devworld.ErrNoData) {
			return nil, unreachable(fmt.Errorf("no cambio dev runs from %s: start it with `cambio dev`, or name a server with --url or CAMBIO_URL", r.data))
		}
		if err != nil {
			return nil, err
		}
		dev, where = r.data, ready.URL
	}
	if chosen || dev != "" { // --url beside --data: it is reached there, by who the folder knows
		token := devworld.AuditorToken(r.data)
		if r.operator {
			token = devworld.OperatorToken(r.data)
		}
		tokenFile = either(tokenFile, token)
	}
	base, err := serverURL(where)
	if err != nil {
		return nil, err
	}
	s := &remote{base: base, dev: dev}
	if needsToken {
		if tokenFile == "" {
			return nil, usage("say who you are with --token-file or CAMBIO_TOKEN_FILE: a file with a token of an issuer that the server trusts")
		}
		if s.token, err = readToken(tokenFile, cmd.InOrStdin()); err != nil {
			return nil, err
		}
	}
	s.http, err = newClient(caFile)
	return s, err
}

// atDev is the cambio dev that runs from a data folder, to whom nobody says who they
// are.
func atDev(ready devworld.Ready, data string) (*remote, error) {
	base, err := serverURL(ready.URL)
	if err != nil {
		return nil, err
	}
	client, err := newClient("")
	return &remote{base: base, http: client, dev: data}, err
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// serverURL reads a server's URL. Tokens go there, so it is https, save on this
// machine.
func serverURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, usage("%q is no server's URL: write https://cambio.example", text)
	case u.Scheme != "https" && (u.Scheme != "http" || !exchange.LoopbackHost(u.Hostname())):
		return nil, usage("%s: tokens are sent by https only, save to this machine", text)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// newClient refuses redirects: what is sent is a token, and a redirect is someone
// else's idea of where it goes.
func newClient(caFile string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("reading --ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading --ca-file: %s holds no certificate in PEM", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: transport, Timeout: answerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// answer is what a server said.
type answer struct {
	status int
	body   []byte // valid JSON where status is 200
}

// ask sends one request. Its error is exit status 3 where no answer came.
func (s *remote) ask(ctx context.Context, method, path string, query, form url.Values) (answer, error) {
	if form != nil {
		return s.send(ctx, method, path, query, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	}
	return s.send(ctx, method, path, query, "", nil)
}

// post sends a JSON object.
func (s *remote) post(ctx context.Context, path string, object any) (answer, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return answer{}, fmt.Errorf("asking %s: %w", s.base, err)
	}
	return s.send(ctx, http.MethodPost, path, nil, "application/json", bytes.NewReader(body))
}

// send sends a request; kind is the type of its body, if it has one.
func (s *remote) send(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader) (answer, error) {
	target := *s.base
	target.Path += path
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return answer{}, fmt.Errorf("asking %s: %w", s.base, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "cambio/"+thisBuild().Version)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if !s.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, s.lost(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, unreachable(fmt.Errorf("the answer of %s broke off: %w", s.base, err))
	case len(text) > maxAnswer:
		return answer{}, fmt.Errorf("the answer of %s is larger than %d bytes", s.base, maxAnswer)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{}, fmt.Errorf("%s answered with a redirect, which is not followed: give the URL it should be with --url", s.base)
	case resp.StatusCode == http.StatusOK && !json.Valid(text):
		return answer{}, fmt.Errorf("%s answered with something that is not JSON: is it Cambio's URL?", s.base)
	}
	return answer{status: resp.StatusCode, body: bytes.TrimSpace(text)}, nil
}

// lost says that no answer came, and what to look at.
func (s *remote) lost(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which a filter may make long
	}
	advice := "is the URL right, and does a server run there?"
	var stranger x509.UnknownAuthorityError
	switch {
	case s.dev != "":
		advice = fmt.Sprintf("%s names it, and may be of a cambio dev that has died: start it again", devworld.ReadyFile(s.dev))
	case errors.As(err, &stranger):
		advice = "name the roots to trust with --ca-file or CAMBIO_CA_FILE"
	}
	return unreachable(fmt.Errorf("%s cannot be reached: %w: %s", s.base, err, advice))
}

// refusal is the error of RFC 6749 §5.2 in an answer.
type refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Exchange    string `json:"exchange_id"`
}

// refused turns an answer that is no success into an error with its exit status.
func (s *remote) refused(a answer) error {
	status := statusFault
	if a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout {
		status = statusUnreachable
	}
	var r refusal
	if err := json.Unmarshal(a.body, &r); err != nil || r.Code == "" {
		return &failure{status: status, err: fmt.Errorf("%s answered %d %s: is it Cambio's URL?", s.base, a.status, http.StatusText(a.status))}
	}
	text := clean(r.Code)
	if r.Description != "" {
		text += ": " + clean(r.Description)
	}
	if r.Exchange != "" {
		text += " (exchange " + clean(r.Exchange) + ")"
	}
	return &failure{status: status, err: errors.New(text)}
}

// readToken reads a token from a file, or from standard input for -.
func readToken(file string, stdin io.Reader) (exchange.Secret, error) {
	return readSecret("a token", file, stdin)
}

// readSecret reads a secret alone in its file, or on standard input for -. what
// says in errors what was wanted.
func readSecret(what, file string, stdin io.Reader) (exchange.Secret, error) {
	from, name := stdin, "standard input"
	if terminal, ok := stdin.(*os.File); ok && file == "-" {
		if info, err := terminal.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && !isNull(info) {
			return exchange.Secret{}, usage("%s was expected on standard input, which is your terminal: pipe it in, or name its file", what)
		}
	}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return exchange.Secret{}, fmt.Errorf("reading %s: %w", what, err)
		}
		defer f.Close()
		from, name = f, file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxTokenBytes+1))
	switch {
	case err != nil:
		return exchange.Secret{}, fmt.Errorf("reading %s from %s: %w", what, name, err)
	case len(text) > maxTokenBytes:
		return exchange.Secret{}, fmt.Errorf("%s is too large to be %s: %d bytes at most", name, what, maxTokenBytes)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return exchange.Secret{}, fmt.Errorf("%s is empty, and %s was expected", name, what)
	}
	return exchange.NewSecret(secret), nil
}

// isNull tells the null device, which is what services have as standard input, from a
// terminal.
func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}
