package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
)

// bounds say how much of what came from outside a record keeps. Texts are
// measured as encoded, so that escapes cannot blow a record up.
type bounds struct {
	text  int // bytes of a member of its own
	item  int // bytes of an element of a list
	items int // elements of a list, and names among the claims
}

// A record is encoded under the wide bounds and, should it come out longer than
// MaxRecord, under the narrow ones, which no record exceeds: some 40 texts and
// lists of 1 KiB, and claims of 8 × 9 × 128 bytes.
var (
	wide   = bounds{text: 1024, item: 1024, items: 32}
	narrow = bounds{text: 1024, item: 128, items: 8}
)

// usual is what most records fit in, in bytes.
const usual = 1536

// Encode writes the event's record as canonical JSON: the members of
// exchange.Record in its order, names of claims sorted, no white space, the
// escapes of encoding/json without those for HTML. The same event gives the same
// bytes. Exchange, type, time and tenant are the event's, whatever its Record
// says, so that row and record cannot disagree.
//
// NUL and what is not UTF-8 become U+FFFD. A text that is too long is cut and
// ends in the SHA-256 of the whole, so that two long texts stay two; a list that
// is too long ends in how many more there were (S28).
func Encode(e exchange.Event) []byte {
	record, _ := encode(e)
	return record
}

// encode is Encode, and the facts of a terminal outcome.
func encode(e exchange.Event) ([]byte, Facts) {
	r := e.Record
	r.Exchange, r.Type, r.At, r.Tenant = e.Exchange.String(), e.Type.String(), exchange.FormatTime(e.At), e.Tenant
	w := writer{buf: make([]byte, 0, usual), lim: wide, finds: e.Type.Terminal()}
	w.record(&r)
	if len(w.buf) > MaxRecord {
		w.buf, w.lim = w.buf[:0], narrow
		w.record(&r)
	}
	return w.buf, w.facts
}

// DecodeRecord reads what Encode wrote. Members that it does not know, of a newer
// version, are passed over.
func DecodeRecord(b []byte) (exchange.Record, error) {
	var r exchange.Record
	if err := json.Unmarshal(b, &r); err != nil {
		return exchange.Record{}, fmt.Errorf("reading a ledger record: %w", err)
	}
	return r, nil
}

// record names every member of exchange.Record by hand, so that cleaning, bounding
// and writing are one pass, in less time than encoding/json takes for the writing
// alone. A test fails when a member is missing here.
func (w *writer) record(r *exchange.Record) {
	w.buf = append(w.buf, '{')
	w.always("exchange", r.Exchange)
	w.always("type", r.Type)
	w.always("at", r.At)
	w.always("tenant", r.Tenant)
	w.fact("subject", r.Subject, &w.facts.Subject)
	w.text("trust", r.Trust)
	w.fact("actor", r.Actor, &w.facts.Actor)
	w.list("actors", r.Actors)
	w.list("asserted", r.Asserted)
	w.text("client", r.Client)
	w.fact("target", r.Target, &w.facts.Target)
	w.text("provider", r.Provider)
	w.text("door", r.Door)
	w.text("grant_type", r.GrantType)
	w.text("token_type", r.TokenType)
	w.list("asked_targets", r.AskedTargets)
	w.list("asked_scopes", r.AskedScopes)
	w.list("scopes", r.Scopes)
	w.number("asked_lifetime_s", r.AskedLifetime)
	w.number("lifetime_s", r.Lifetime)
	w.text("expires", r.Expires)
	w.number("excess_s", r.Excess)
	w.text("rule", r.Rule)
	w.text("revision", r.Revision)
	w.number("epoch", r.Epoch)
	w.text("reason", r.Reason)
	w.text("outcome", r.Outcome)
	w.text("error_kind", r.ErrorKind)
	w.text("explanation", r.Explanation)
	w.fact("credential", r.Credential, &w.facts.Credential)
	w.fact("handle", r.Handle, &w.facts.Handle)
	w.text("lease", r.Lease)
	w.list("lineage", r.Lineage)
	if r.Reused {
		w.name("reused")
		w.buf = append(w.buf, "true"...)
	}
	w.fact("client_ip", r.ClientIP, &w.facts.ClientIP)
	w.text("user_agent", r.UserAgent)
	w.text("trace_id", r.TraceID)
	w.text("token_id", r.TokenID)
	w.text("key_id", r.KeyID)
	w.claims("claims", r.Claims)
	w.durations("durations_us", r.Durations)
	w.buf = append(w.buf, '}')
}

// writer appends the members of one JSON object.
type writer struct {
	buf   []byte
	lim   bounds
	finds bool // facts are wanted
	facts Facts
}

func (w *writer) name(name string) {
	if w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

func (w *writer) always(name, text string) {
	w.name(name)
	w.buf = appendText(w.buf, text, w.lim.text)
}

func (w *writer) text(name, text string) {
	if text != "" {
		w.always(name, text)
	}
}

// fact is a text by which lists find the record.
func (w *writer) fact(name, text string, fact *int64) {
	if text == "" {
		return
	}
	w.name(name)
	start := len(w.buf)
	w.buf = appendText(w.buf, text, w.lim.text)
	if w.finds {
		*fact = factOf(w.buf[start:])
	}
}

func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.name(name)
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
}

func (w *writer) list(name string, items []string) {
	if len(items) > 0 {
		w.name(name)
		w.array(items)
	}
}

func (w *writer) array(items []string) {
	w.buf = append(w.buf, '[')
	for i, item := range items {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		if i == w.lim.items {
			w.buf = appendText(w.buf, "…and "+strconv.Itoa(len(items)-i)+" more", w.lim.item)
			break
		}
		w.buf = appendText(w.buf, item, w.lim.item)
	}
	w.buf = append(w.buf, ']')
}

// claims writes the kept claims by name. Those past the bound are left out, and
// the member "…" holds how many.
func (w *writer) claims(name string, claims exchange.Attributes) {
	if len(claims) == 0 {
		return
	}
	var some [16]string
	names := some[:0]
	for n := range claims {
		names = append(names, n)
	}
	slices.Sort(names)
	left := 0
	if len(names) > w.lim.items {
		left = len(names) - w.lim.items
		names = names[:w.lim.items]
	}
	w.name(name)
	w.buf = append(w.buf, '{')
	for i, n := range names {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = appendText(w.buf, n, w.lim.item)
		w.buf = append(w.buf, ':')
		if claims[n] == nil {
			w.buf = append(w.buf, "null"...)
			continue
		}
		w.array(claims[n])
	}
	if left > 0 {
		w.buf = append(w.buf, `,"…":["and `...)
		w.buf = strconv.AppendInt(w.buf, int64(left), 10)
		w.buf = append(w.buf, ` more"]`...)
	}
	w.buf = append(w.buf, '}')
}

func (w *writer) durations(name string, d *exchange.Durations) {
	if d == nil {
		return
	}
	w.name(name)
	w.buf = append(w.buf, `{"verify":`...)
	w.buf = strconv.AppendInt(w.buf, d.Verify, 10)
	w.buf = append(w.buf, `,"decide":`...)
	w.buf = strconv.AppendInt(w.buf, d.Decide, 10)
	w.number("intend", d.Intend)
	w.number("vend", d.Vend)
	w.buf = append(w.buf, '}')
}

// cutMark stands between what was kept of a text and 16 hexadecimal digits of the
// SHA-256 of all of it.
const cutMark = "…sha256:"

// appendText writes a JSON string of at most limit bytes between its quotes.
func appendText(b []byte, s string, limit int) []byte {
	const tail = len(cutMark) + 16
	b = append(b, '"')
	if len(s) <= limit && isPlain(s) { // nearly always
		b = append(b, s...)
		return append(b, '"')
	}
	start := len(b)
	cut := start // where the text would end if its tail came after
	for i := 0; i < len(s) && len(b)-start <= limit; {
		if len(b)-start <= limit-tail {
			cut = len(b)
		}
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			var size int
			b, size = appendRune(b, s[i:])
			i += size
			continue
		case plain[c]:
			b = append(b, c)
		default:
			b = appendEscape(b, c)
		}
		i++
	}
	if len(b)-start > limit {
		sum := sha256.Sum256([]byte(s))
		b = hex.AppendEncode(append(b[:cut], cutMark...), sum[:8])
	}
	return append(b, '"')
}

// appendRune writes the first character of s, which is not ASCII.
func appendRune(b []byte, s string) ([]byte, int) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		return append(b, "\uFFFD"...), 1
	case r == '\u2028', r == '\u2029': // line ends to JavaScript, where a console may show this
		return append(b, `\u202`+string('8'+r&1)...), size
	default:
		return append(b, s[:size]...), size
	}
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := byte(0x20); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func isPlain(s string) bool {
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

func appendEscape(b []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	switch c {
	case 0:
		return append(b, "\uFFFD"...)
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
	}
}
