package proxy

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

const (
	dialTimeout = 10 * time.Second
	maxAnswer   = 256 << 10 // bytes of an answer's head
	idleConn    = 90 * time.Second
)

// route is one upstream, ready to be asked.
type route struct {
	name, target string
	prefix       []string // segments; none where host tells
	host         string
	upstream     *url.URL
	base         string // the upstream's path, without a slash at its end
	auth         *Auth
	headers      map[string]string
	methods      []string
	paths        []pattern
	slash        bool
	upgrades     []string
	callers      *Callers
	cookies      Cookies
	limits       Limits

	now       func() time.Time
	meter     *routeMeter
	slots     chan struct{}
	memory    *semaphore.Weighted // for bodies that are held, of all routes
	transport *http.Transport     // where users need not be kept apart
	users     *users              // where they are
	shared    *issuer
	gate      *gate
	act       bool // whether users' credentials name the agent as actor
	persons   *persons
	maxUsers  int // among persons
}

// newRoute makes a route of settings that were checked and filled in.
func newRoute(r Route, callers *Callers, d Deps, m *meters) (*route, error) {
	t := &route{
		name: r.Name, target: r.Target, host: strings.ToLower(r.Host), auth: r.Auth, methods: r.Methods, slash: r.EncodedSlash,
		upgrades: r.Upgrades, callers: callers, cookies: r.Cookies, limits: r.Limits, headers: map[string]string{},
		now: d.Now, meter: m.route(r.Name), slots: make(chan struct{}, r.Limits.Concurrent),
	}
	for name, value := range r.Headers {
		t.headers[http.CanonicalHeaderKey(name)] = value
	}
	if r.Prefix != "" && r.Prefix != "/" {
		t.prefix = strings.Split(strings.Trim(r.Prefix, "/"), "/")
	}
	for _, text := range r.Paths {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		t.paths = append(t.paths, p)
	}
	var err error
	if t.upstream, err = upstreamURL(r.Upstream); err != nil {
		return nil, err
	}
	t.base = strings.TrimRight(t.upstream.EscapedPath(), "/")
	roots, err := rootsOf(r.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	dial := func() *http.Transport { return newTransport(roots, *r.Limits.HeaderTimeout) }
	if r.Cookies.Enabled {
		t.users = newUsers(r.Cookies.MaxUsers, dial, d.Now)
	} else {
		t.transport = dial()
	}
	return t, nil
}

// issue prepares where credentials come from: one source, or one for each user. key is
// that of OCI signatures.
func (t *route) issue(r Route, d Deps, key *rsa.PrivateKey) error {
	request, err := d.Targets.Request(t.target)
	if err != nil {
		return err
	}
	mint := &mint{client: d.Targets.Client(), auth: t.auth, key: key, now: d.Now}
	if r.Gateway == nil {
		if t.shared, err = mint.issuer(request); err != nil {
			return err
		}
		d.Targets.Track(t.target, t.shared.source)
		return nil
	}
	d.Targets.PerUser(t.target)
	if t.gate, err = newGate(*r.Gateway, d.Now); err != nil {
		return err
	}
	t.act, t.maxUsers = r.Gateway.Act == nil || *r.Gateway.Act, r.Gateway.maxUsers()
	if t.persons = d.Previous.personsFor(t, d.Targets); t.persons != nil {
		return nil
	}
	if !t.act {
		request.Actor = cambio.NoActor
	}
	t.persons = newPersons(d.Now, func(token cambio.Secret) (*issuer, error) {
		own := request
		own.Subject = cambio.Static(token, cambio.TokenTypeJWT)
		return mint.issuer(own)
	})
	return nil
}

func newTransport(roots *x509.CertPool, header time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // encodings are between the caller and the upstream
		MaxIdleConnsPerHost: 64, IdleConnTimeout: idleConn,
		TLSHandshakeTimeout: dialTimeout, ExpectContinueTimeout: time.Second,
		ResponseHeaderTimeout: header, MaxResponseHeaderBytes: maxAnswer,
	}
}

// rootsOf reads CAs; nil, which is the system's, where no file is named.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate is in it: write PEM", file)
	}
	return pool, nil
}

// takes reports whether a request is for this route, and its path below the prefix.
func (t *route) takes(host string, p place) (place, bool) {
	if t.host != "" {
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		return p, strings.EqualFold(name, t.host)
	}
	return p.below(t.prefix)
}

func (t *route) prefixText() string {
	if len(t.prefix) == 0 {
		return ""
	}
	return "/" + strings.Join(t.prefix, "/")
}

// order is what was found out about a request before anything is sent.
type order struct {
	url     *url.URL
	cookies []cookie
	key     userKey
	from    *issuer
}

// read checks a request against the route's lists, and who asks.
func (t *route) read(req *http.Request, p place, secret cambio.Secret) (*order, *refusal) {
	if refused := t.callers.admit(req, secret); refused != nil {
		return nil, refused
	}
	if _, err := readPath(req.URL.EscapedPath(), t.slash); err != nil {
		return nil, refuse(http.StatusBadRequest, "bad_path", "%v", err)
	}
	if !slices.ContainsFunc(t.paths, func(one pattern) bool { return one.match(p.said) }) {
		return nil, refuse(http.StatusForbidden, "path_not_listed", "this path is not listed: add it to paths of route %s", t.name)
	}
	if !slices.Contains(t.methods, req.Method) {
		return nil, refuse(http.StatusMethodNotAllowed, "method_not_listed", "this method is not listed: add it to methods of route %s", t.name)
	}
	if refused := t.plain(req); refused != nil {
		return nil, refused
	}
	if said, err := url.QueryUnescape(req.RequestURI); err != nil || strings.Contains(said, secret.Reveal()) {
		return nil, refuse(http.StatusBadRequest, "secret_in_url", "the URL holds the secret of the agent's start, which the upstream would get: send it as the API key, in a header")
	}
	o := &order{from: t.shared, url: t.below(p, req.URL.RawQuery)}
	if t.cookies.Enabled {
		var err error
		if o.cookies, err = allowedCookies(req.Header["Cookie"], t.cookies.Names); err != nil {
			return nil, refuse(http.StatusBadRequest, "bad_cookie", "%v", err)
		}
	}
	token := ""
	if t.gate != nil {
		verified, refused := t.gate.verify(req)
		if refused != nil {
			return nil, refused
		}
		var err error
		if o.from, err = t.persons.of(verified, t.maxUsers); err != nil {
			return nil, refuse(http.StatusBadGateway, "no_credential", "%v", err)
		}
		token = verified.token.Reveal()
	}
	o.key = keyOf(o.cookies, token)
	return o, nil
}

// plain refuses what would make another request of this one on the way.
func (t *route) plain(req *http.Request) *refusal {
	if kind := req.Header.Get("Upgrade"); kind != "" && !slices.ContainsFunc(t.upgrades, func(u string) bool { return strings.EqualFold(u, kind) }) {
		return refuse(http.StatusNotImplemented, "no_upgrade", "no connection is upgraded here: list the protocol in upgrades of route %s", t.name)
	}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "bad_query", "the query has a broken escape or a semicolon")
	}
	for name := range query {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			return refuse(http.StatusBadRequest, "signed_query", "the request is presigned: send it plain, it is signed here")
		}
	}
	if t.auth.AWS != nil && strings.HasPrefix(req.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return refuse(http.StatusNotImplemented, "signed_chunks", "chunks that are signed by the caller cannot be signed anew: set request_checksum_calculation to when_required in its SDK")
	}
	return nil
}

// below is a path of the upstream.
func (t *route) below(p place, query string) *url.URL {
	u := *t.upstream
	text := t.base + p.text()
	if text == "" {
		text = "/"
	}
	u.Path, _ = url.PathUnescape(text)
	u.RawPath, u.RawQuery = text, query
	return &u
}

// serve does what was ordered.
func (t *route) serve(w http.ResponseWriter, req *http.Request, o *order, secret cambio.Secret) (failure error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		busy := refuse(http.StatusServiceUnavailable, "busy", "route %s has %d requests under way: see limits.concurrent", t.name, t.limits.Concurrent)
		busy.after = time.Second
		busy.write(w)
		return busy
	}
	transport := t.transport
	if t.users != nil {
		own, release, err := t.users.acquire(o.key)
		if err != nil {
			busy := refuse(http.StatusServiceUnavailable, "busy", "%v: see cookie_passthrough.max_users of route %s", err, t.name)
			busy.after = time.Second
			busy.write(w)
			return busy
		}
		defer release()
		transport = own
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	req = req.WithContext(ctx)
	if req.Body != nil {
		req.Body = http.MaxBytesReader(w, req.Body, t.limits.MaxBody)
	}
	if len(req.TransferEncoding) > 0 && req.ProtoMajor == 1 {
		// A length beside the encoding is gone by now. Whatever follows on such a
		// connection is not read (RFC 9112 §6.1).
		w.Header().Set("Connection", "close")
	}
	send := &sender{route: t, base: transport, from: o.from, cookies: o.cookies, answer: w}
	defer send.release()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = o.url, o.url.Host
			t.forward(pr.Out.Header, secret)
			if len(o.cookies) > 0 {
				pr.Out.Header.Set("Cookie", header(o.cookies))
			}
			forwardTrailers(pr.In, pr.Out, t.auth)
		},
		Transport:     send,
		FlushInterval: -1,
		BufferPool:    &copying,
		ErrorLog:      log.New(discard{}, "", 0),
		ModifyResponse: func(resp *http.Response) error {
			withhold(resp.Header)
			if resp.StatusCode == http.StatusSwitchingProtocols {
				return nil
			}
			if err := t.relocate(resp); err != nil {
				return err
			}
			withhold(resp.Trailer)
			resp.Body = newStream(resp, *t.limits.IdleTimeout, cancel)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			failure = err
			if send.unread {
				listen.Unread(w, req)
			}
			if left(ctx, err) {
				w.WriteHeader(statusLeft)
				return
			}
			refusalOf(ctx, err, t.upstream.Host).write(w)
		},
	}
	proxy.ServeHTTP(w, req)
	return failure
}

// statusLeft is what the log has of a caller who left; nobody reads it.
const statusLeft = 499

// discard takes what ReverseProxy says: the log has it already.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// close gives up connections that are not in use, and the others when they are not.
func (t *route) close() {
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
	if t.users != nil {
		t.users.sweep(true)
	}
	if t.gate != nil {
		t.gate.keys.client.CloseIdleConnections()
	}
}

// upstreamURL is where credentials are sent: https, or plain HTTP to this machine.
func upstreamURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("write https://host, and a path if there is one")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("there is no user, query or fragment here")
	case !origin.Safe(u):
		return nil, errors.New("credentials go over https, or to this machine: write https://")
	}
	if base := strings.TrimRight(u.EscapedPath(), "/"); base != "" {
		if _, err := readPath(base, false); err != nil {
			return nil, err
		}
	}
	return u, nil
}
