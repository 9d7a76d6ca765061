package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// The time that a request may take beside its call: for its body, and for the
// answer.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
)

// whole bounds a request from its first byte to the last of its answer. No method's
// limit is longer than an exchange's.
func (s *Server) whole() time.Duration {
	return readTimeout + server.ExchangeTime(s.o.Timeout) + writeTimeout
}

// REST is the REST face: everything under /v1/, and the OpenAPI document at
// /openapi.json and /v1/openapi.json.
func (s *Server) REST() http.Handler { return s.rest }

// rest is around grpc-gateway, which gets to see no header, no query parameter that
// it does not know, and no body that has not been read whole.
type rest struct {
	*Server
	gateway *runtime.ServeMux
	routes  *http.ServeMux // pattern → *route
}

// route is what a method's HTTP rule says of its request.
type route struct {
	query []string // the parameters it takes; each at most once
	body  bool
}

// ServeHTTP is there because http.ServeMux holds handlers; a route is looked up
// and never served.
func (*route) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (s *Server) newREST(gateway *runtime.ServeMux) (*rest, error) {
	face := &rest{Server: s, gateway: gateway, routes: http.NewServeMux()}
	for _, file := range []protoreflect.FileDescriptor{
		cambiov1.File_cambio_v1_exchange_proto, cambiov1.File_cambio_v1_audit_proto, cambiov1.File_cambio_v1_deny_proto,
		cambiov1.File_cambio_v1_lease_proto, cambiov1.File_cambio_v1_signing_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				pattern, r, err := routeOf(methods.Get(j))
				if err != nil {
					return nil, err
				}
				face.routes.Handle(pattern, r)
			}
		}
	}
	return face, nil
}

// routeOf reads a google.api.http rule. Path parameters fill whole segments, as in
// http.ServeMux's own patterns.
func routeOf(m protoreflect.MethodDescriptor) (string, *route, error) {
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	var pattern string
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		pattern = "GET " + p.Get
	case *annotations.HttpRule_Post:
		pattern = "POST " + p.Post
	case *annotations.HttpRule_Delete:
		pattern = "DELETE " + p.Delete
	default:
		return "", nil, fmt.Errorf("%s has no HTTP rule that this face knows", m.FullName())
	}
	if path, verb, custom := strings.Cut(pattern, "}:"); custom {
		method, path, _ := strings.Cut(path, " ")
		pattern = method + " " + verbs + path + "}/" + verb
	}
	r := &route{body: rule.GetBody() == "*"}
	for i := 0; !r.body && i < m.Input().Fields().Len(); i++ {
		if name := string(m.Input().Fields().Get(i).Name()); !strings.Contains(pattern, "{"+name+"}") {
			r.query = append(r.query, name)
		}
	}
	return pattern, r, nil
}

// ServeHTTP takes one request to the gateway, or refuses it.
func (f *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/openapi.json" || r.URL.Path == "/v1/openapi.json" {
		serveOpenAPI(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	ctx := f.arrive(r, "rest")
	inner, err := f.prepare(w, r.WithContext(ctx))
	if err != nil {
		writeFailure(w, r, failureOf(err))
		return
	}
	if inner.URL.Path == tailPath {
		f.serveTail(w, inner)
		return
	}
	f.gateway.ServeHTTP(w, inner)
}

// prepare checks what the gateway would pass over, and makes the request that it
// sees. Without headers there is nothing for it to turn into metadata, to override
// the method with, or to take for a deadline (S19); without an address it invents
// no X-Forwarded-For.
func (f *rest) prepare(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	inner := (&http.Request{
		Method: r.Method, URL: &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath},
		Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
		Header: make(http.Header), Body: http.NoBody,
	}).WithContext(r.Context())
	at := f.place(r)
	to := f.route(r.Method, at)
	if to == nil || r.Method == http.MethodHead { // the mux takes HEAD for GET, and the gateway does not
		if allow := f.allowed(at); allow != "" {
			w.Header().Set("Allow", allow) // RFC 9110 §15.5.6
			return nil, exchange.Fault(exchange.KindMethodNotAllowed, "this path takes "+allow, nil)
		}
		return inner, nil // the gateway says what is wrong with it
	}
	if !utf8.ValidString(r.URL.Path) { // protobuf has no strings for it
		return nil, server.Invalid("the path is not UTF-8 text")
	}
	if err := to.checkQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	inner.URL.RawQuery = r.URL.RawQuery
	body, err := server.ReadBody(w, r, int64(f.o.RequestBytes), readTimeout, f.whole())
	if err != nil {
		return nil, err
	}
	switch {
	case !to.body && len(body) > 0:
		return nil, server.Invalid("this method takes no body: use query parameters")
	case to.body:
		if !isJSON(r.Header["Content-Type"]) {
			return nil, exchange.Fault(exchange.KindUnsupportedMedia, "the body must be application/json, and say so in Content-Type", nil)
		}
		inner.Body = io.NopCloser(bytes.NewReader(body))
	}
	return inner, nil
}

// verbs is where the routes of custom methods (AIP-136) stand, with the verb as a
// segment: http.ServeMux has no patterns within one, as {lease}:renew is. No path
// that a caller sends is there.
const verbs = "/:verbs"

// place is where the routes of a path stand.
func (f *rest) place(r *http.Request) *url.URL {
	path := r.URL.Path
	if i := strings.LastIndexByte(path, ':'); i > strings.LastIndexByte(path, '/') {
		custom := &url.URL{Path: verbs + path[:i] + "/" + path[i+1:]}
		if f.allowed(custom) != "" {
			return custom
		}
	}
	if strings.HasPrefix(path, verbs) {
		return &url.URL{Path: "/"}
	}
	return r.URL
}

// route is nil where there is none.
func (f *rest) route(method string, at *url.URL) *route {
	found, _ := f.routes.Handler(&http.Request{Method: method, URL: at})
	to, _ := found.(*route)
	return to
}

// allowed lists the methods that a path takes; empty: there is nothing at it.
func (f *rest) allowed(at *url.URL) string {
	var list []string
	for _, method := range [...]string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		if f.route(method, at) != nil {
			list = append(list, method)
		}
	}
	return strings.Join(list, ", ")
}

func (to *route) checkQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return server.Invalid("the query is not form-encoded")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(to.query, name) && len(to.query) == 0:
			return server.Invalid("this method takes no query parameters")
		case !slices.Contains(to.query, name):
			return server.Invalid("an unknown query parameter: this method takes " + strings.Join(to.query, ", "))
		case len(given) > 1:
			return server.Invalid(name + " came twice: send it once")
		case !utf8.ValidString(given[0]):
			return server.Invalid(name + " is not UTF-8 text")
		}
	}
	return nil
}

// isJSON wants exactly one Content-Type, application/json, in UTF-8 if it says.
func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	kind, params, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" {
		return false
	}
	charset, said := params["charset"]
	return !said || strings.EqualFold(charset, "utf-8")
}

func newGateway() *runtime.ServeMux {
	nothing := func(string) (string, bool) { return "", false }
	return runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newJSON()),
		runtime.WithIncomingHeaderMatcher(nothing),
		runtime.WithOutgoingHeaderMatcher(nothing),
		runtime.WithOutgoingTrailerMatcher(nothing),
		runtime.WithMetadata(func(context.Context, *http.Request) metadata.MD { return nil }),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			var routing *runtime.HTTPStatusError
			if errors.As(err, &routing) { // a path with a broken escape
				writeFailure(w, r, failureOf(server.Invalid("the path is not well-formed")))
				return
			}
			writeFailure(w, r, failureOfStatus(status.Convert(err)))
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
			switch code {
			case http.StatusMethodNotAllowed:
				writeFailure(w, r, failureOf(exchange.Fault(exchange.KindMethodNotAllowed, "this path takes another method", nil)))
			case http.StatusBadRequest:
				writeFailure(w, r, failureOf(server.Invalid("the path is not well-formed")))
			default:
				writeFailure(w, r, failureOf(exchange.Fault(exchange.KindNotFound, "there is nothing at this path", nil)))
			}
		}),
	)
}

// body is the failure as the token endpoint writes it, on one line.
func (f failure) body() []byte {
	body := struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Exchange    string `json:"exchange_id,omitempty"`
	}{Error: server.RowOf(f.kind).OAuth, Description: f.advice}
	if !f.exchange.IsZero() {
		body.Exchange = f.exchange.String()
	}
	text, _ := json.Marshal(body) // of texts only
	return text
}

// writeFailure is the one writer of REST errors: the members and the statuses of
// the token endpoint.
func writeFailure(w http.ResponseWriter, r *http.Request, f failure) {
	row := server.RowOf(f.kind)
	h := w.Header()
	switch { // RFC 9110 §15.5.2; the attribute is RFC 6750 §3.1's
	case f.kind == exchange.KindInvalidClient:
		tried := ""
		if c := callerOf(r.Context()); c != nil && len(c.authorization) > 0 {
			tried = c.authorization[0]
		}
		h.Set("WWW-Authenticate", server.Challenge(tried))
	case row.HTTP == http.StatusUnauthorized && f.advice == errNoBearer.Advice:
		h.Set("WWW-Authenticate", `Bearer realm="cambio"`)
	case row.HTTP == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="cambio", error="invalid_token"`)
	}
	if f.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.retryAfter.Seconds())), 10))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(row.HTTP)
	_, _ = w.Write(append(f.body(), '\n')) // a caller that hung up is nobody to tell
}

func serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeFailure(w, r, failureOf(exchange.Fault(exchange.KindMethodNotAllowed, "this path takes GET", nil)))
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(cambiov1.OpenAPI)
}
