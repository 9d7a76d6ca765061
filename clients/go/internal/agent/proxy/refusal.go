package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// refusal is an answer of the proxy's own. It holds nothing secret.
type refusal struct {
	status  int
	code    string // for programs
	message string // for people: what is wrong, and what to change
	// after is in how long the same request may succeed; 0: it will not.
	after     time.Duration
	challenge string // WWW-Authenticate
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// write answers in one shape that the SDKs of OpenAI, Anthropic, AWS and OCI all show to
// their callers.
func (r *refusal) write(w http.ResponseWriter) {
	kind := "invalid_request_error"
	switch {
	case r.status == http.StatusUnauthorized:
		kind = "authentication_error"
	case r.status == http.StatusForbidden:
		kind = "permission_error"
	case r.status >= 500:
		kind = "api_error"
	}
	type detail struct {
		Type    string  `json:"type"`
		Message string  `json:"message"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	text, _ := json.Marshal(struct {
		Type    string `json:"type"` // Anthropic
		Error   detail `json:"error"`
		Code    string `json:"code"` // OCI, and AWS with the header below
		Message string `json:"message"`
	}{"error", detail{kind, "cambio-agent: " + r.message, nil, r.code}, r.code, "cambio-agent: " + r.message})
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Amzn-Errortype", r.code)
	if r.challenge != "" {
		h.Set("WWW-Authenticate", r.challenge)
	}
	if r.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int((r.after+time.Second-1)/time.Second)))
	} else {
		h.Set("X-Should-Retry", "false") // of the SDKs of OpenAI and Anthropic
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(text)
}

// reasons of a request's end, beside its caller's.
var (
	errIdle    = errors.New("the upstream fell silent")
	errTooLong = errors.New("the body is too long to be signed")
)

// refusalOf is what the caller is told of a failure on the way.
func refusalOf(ctx context.Context, err error, upstream string) *refusal {
	var own *refusal
	var refused *cambio.Error
	var long *http.MaxBytesError
	var late net.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refused):
		return withoutCredential(refused)
	case errors.As(err, &long):
		return refuse(http.StatusRequestEntityTooLarge, "body_too_long", "the body has more than %d bytes: raise limits.max_body of the route", long.Limit)
	case errors.Is(err, errTooLong):
		return refuse(http.StatusRequestEntityTooLarge, "body_too_long", "the body has to be held to be signed, and is longer than limits.buffer of the route")
	case errors.Is(context.Cause(ctx), errIdle), errors.As(err, &late) && late.Timeout():
		return &refusal{status: http.StatusGatewayTimeout, code: "upstream_timeout", message: upstream + " does not answer in time: see limits.header_timeout and idle_timeout of the route", after: time.Second}
	}
	return &refusal{status: http.StatusBadGateway, code: "upstream_unreachable", message: "no answer from " + upstream + "; the agent's log says why", after: time.Second}
}

// withoutCredential: there is nothing to send, and the upstream was not asked.
func withoutCredential(e *cambio.Error) *refusal {
	r := &refusal{status: http.StatusBadGateway, code: "no_credential", message: "there is no credential for the upstream: " + e.Error()}
	if e.Retryable {
		r.status, r.after = http.StatusServiceUnavailable, max(e.RetryAfter, 5*time.Second)
		r.message += "; it is asked again in a while: see whether the Cambio server is up, and can be reached from here"
	} else {
		r.message += "; ask who keeps the server's policy"
	}
	return r
}
