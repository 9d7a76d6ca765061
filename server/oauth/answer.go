package oauth

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

const (
	mediaJSON = "application/json"
	mediaJWKS = "application/jwk-set+json" // RFC 7517 §8.5.1
)

// succeed writes RFC 8693 §2.2.1, with our exchange_id and lease_id. It is the
// one place of this door that reveals a credential.
func (h *Handler) succeed(w http.ResponseWriter, receipt exchange.Receipt) {
	c := receipt.Credential
	token := c.Value.Reveal()
	b := make([]byte, 0, len(token)+512)
	b = append(b, `{"access_token":`...)
	b = appendJSON(b, token)
	b = append(b, `,"issued_token_type":`...)
	b = appendJSON(b, string(c.IssuedType))
	b = append(b, `,"token_type":`...)
	b = appendJSON(b, c.TokenType)
	b = append(b, `,"expires_in":`...)
	b = strconv.AppendInt(b, max(0, int64(c.Expires.Sub(h.Now())/time.Second)), 10)
	if len(c.Scopes) > 0 {
		b = append(b, `,"scope":`...)
		b = appendJSON(b, strings.Join(c.Scopes, " "))
	}
	b = append(b, `,"exchange_id":"`...)
	b = append(b, receipt.Exchange.String()...)
	if !c.Lease.IsZero() {
		b = append(b, `","lease_id":"`...)
		b = append(b, c.Lease.String()...)
	}
	b = append(b, "\"}\n"...)
	h.write(w, http.StatusOK, b)
}

// refuse is for what this door refused by itself.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, e *exchange.Error) {
	h.Refused(e.Kind)
	h.fail(w, r, e)
}

// fail writes RFC 6749 §5.2 from the one table, and logs the cause.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, e *exchange.Error) {
	row := server.RowOf(e.Kind)
	if grant, ok := e.Err.(badGrant); ok {
		row.OAuth, e.Err = "invalid_grant", grant.cause
	}
	server.FactsOf(r.Context()).SetExchange(e.Exchange)
	if ctx := r.Context(); h.Logger.Enabled(ctx, row.Level) {
		h.Logger.LogAttrs(ctx, row.Level, "refused", slog.String("kind", e.Kind.String()), slog.Any("err", e))
	}
	header := w.Header()
	if row.HTTP == http.StatusUnauthorized {
		header.Set("Www-Authenticate", server.Challenge(r.Header.Get("Authorization")))
	}
	wait := e.RetryAfter
	if wait <= 0 && e.Kind == exchange.KindThrottled {
		wait = time.Second
	}
	if wait > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	h.write(w, row.HTTP, failureBody(row.OAuth, server.Advice(e.Kind, e.Advice), e.Exchange))
}

// badGrant marks a failure of the assertion that is the grant itself.
type badGrant struct{ cause error }

func (badGrant) Error() string   { return "invalid_grant" }
func (b badGrant) Unwrap() error { return b.cause }

// asGrant is RFC 7521 §4.1.1: an assertion that is bad, or used up, is
// invalid_grant, where RFC 8693 §2.2.2 says invalid_request of a subject token.
func asGrant(e *exchange.Error) *exchange.Error {
	if e.Kind != exchange.KindInvalidSubject && e.Kind != exchange.KindReplayed {
		return e
	}
	marked := *e
	marked.Err = badGrant{cause: e.Err}
	return &marked
}

func failureBody(code, description string, id exchange.ID) []byte {
	b := make([]byte, 0, 256)
	b = append(b, `{"error":`...)
	b = appendJSON(b, code)
	b = append(b, `,"error_description":`...)
	b = appendJSON(b, describable(description))
	if !id.IsZero() {
		b = append(b, `,"exchange_id":"`...)
		b = append(b, id.String()...)
		b = append(b, '"')
	}
	return append(b, "}\n"...)
}

// Header values as the map holds them: shared, never written to.
var (
	headerJSON    = []string{mediaJSON}
	headerNoStore = []string{"no-store"}
	headerNoCache = []string{"no-cache"}
)

// write sends an answer that nobody may keep (RFC 6749 §5.1).
func (h *Handler) write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = headerJSON
	header["Cache-Control"] = headerNoStore
	header["Pragma"] = headerNoCache
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// maxDescription bounds error_description, in bytes.
const maxDescription = 400

// describable makes text fit for error_description: RFC 6749 §5.2 allows visible
// ASCII and the space, without quotes and backslashes.
func describable(s string) string {
	fits := len(s) <= maxDescription
	for i := 0; fits && i < len(s); i++ {
		fits = s[i] >= 0x20 && s[i] <= 0x7e && s[i] != '"' && s[i] != '\\'
	}
	if fits {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case b.Len() == maxDescription:
			return b.String()
		case c == '"' || c == '“' || c == '”' || c == '‘' || c == '’':
			b.WriteByte('\'')
		case c == '\\':
			b.WriteByte('/')
		case c < 0x20 || c > 0x7e:
			b.WriteByte('?')
		default:
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// appendJSON writes a string. Tokens and ids need no escapes; the rest goes the
// long way.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			long, err := json.Marshal(s)
			if err != nil { // no string is unmarshalable
				return append(b, `""`...)
			}
			return append(b, long...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
