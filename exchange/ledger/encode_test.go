package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// plainJSON is what encoding/json makes of a record.
func plainJSON(t testing.TB, r exchange.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// stamped is the record as the ledger keeps it, when nothing needs cutting.
func stamped(e exchange.Event) exchange.Record {
	r := e.Record
	r.Exchange, r.Type, r.At, r.Tenant = e.Exchange.String(), e.Type.String(), exchange.FormatTime(e.At), e.Tenant
	return r
}

// fill sets every member that can be set to something of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text <&> %d \" \\ é \u2028 \t", *n))
	case reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(exchange.Attributes{"z": {"1", "2"}, "a": {}, "nil": nil, "é\n": {"\x7f"}}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("a member of a kind that the encoder does not know: " + v.Type().String())
	}
}

// TestEncodeIsJSONOfTheRecord: the hand-written encoder says what encoding/json
// says, member by member, so that none is forgotten when Record grows.
func TestEncodeIsJSONOfTheRecord(t *testing.T) {
	for i := range reflect.TypeFor[exchange.Record]().NumField() {
		e := event(exchange.EventIssued)
		n := i * 100
		fill(reflect.ValueOf(&e.Record).Elem().Field(i), &n)
		if got, want := ledger.Encode(e), plainJSON(t, stamped(e)); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	all := event(exchange.EventIssued)
	n := 0
	fill(reflect.ValueOf(&all.Record).Elem(), &n)
	empty := event(exchange.EventIssued)
	empty.Record = exchange.Record{}
	for _, e := range []exchange.Event{all, empty} {
		got := ledger.Encode(e)
		if want := plainJSON(t, stamped(e)); !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := ledger.DecodeRecord(got)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plainJSON(t, back), got) {
			t.Error("what was decoded is not what was encoded")
		}
	}
}

// TestRowAndRecordAgree: whatever the record says of itself, the event decides.
func TestRowAndRecordAgree(t *testing.T) {
	e := event(exchange.EventIssued)
	e.Record.Exchange, e.Record.Type, e.Record.At, e.Record.Tenant = "forged", "denied", "1970", "north"
	r, err := ledger.DecodeRecord(ledger.Encode(e))
	if err != nil || r.Exchange != e.Exchange.String() || r.Type != "issued" || r.At != "2026-11-21T10:00:00.123456Z" || r.Tenant != "default" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestS28Storable: what no database would take comes out as what every one does.
func TestS28Storable(t *testing.T) {
	long := strings.Repeat("a", 5000)
	manyItems := make([]string, 1000)
	manyClaims := exchange.Attributes{}
	for i := range manyItems {
		manyItems[i] = fmt.Sprintf("scope-%d", i)
		manyClaims[fmt.Sprintf("claim-%03d", i)] = []string{"v"}
	}
	for name, c := range map[string]struct {
		set  func(*exchange.Record)
		want []string // all of them in the record
		not  []string
	}{
		"NUL":                  {func(r *exchange.Record) { r.Reason = "a\x00b" }, []string{`"reason":"a` + "\uFFFD" + `b"`}, []string{"\x00", `\u0000`}},
		"invalid UTF-8":        {func(r *exchange.Record) { r.UserAgent = "a\xff\xc3" }, []string{`"a` + "\uFFFD\uFFFD" + `"`}, []string{"\xff"}},
		"a lone surrogate":     {func(r *exchange.Record) { r.Reason = "\xed\xa0\x80" }, []string{"\uFFFD"}, nil},
		"controls":             {func(r *exchange.Record) { r.Reason = "\x01\x1b[31m\r\n" }, []string{`\u0001\u001b[31m\r\n`}, nil},
		"an escape as text":    {func(r *exchange.Record) { r.Reason = `\u0000` }, []string{`"\\u0000"`}, nil},
		"a long text":          {func(r *exchange.Record) { r.UserAgent = long }, []string{"aaa…sha256:"}, []string{long}},
		"a long list":          {func(r *exchange.Record) { r.AskedScopes = manyItems }, []string{`"scope-31","…and 968 more"]`}, []string{"scope-32"}},
		"a list of long texts": {func(r *exchange.Record) { r.AskedTargets = []string{long, long + "b"} }, []string{"…sha256:"}, []string{long}},
		"many claims":          {func(r *exchange.Record) { r.Claims = manyClaims }, []string{`"claim-031":["v"],"…":["and 968 more"]}`}, []string{"claim-032"}},
		"long claim names": {func(r *exchange.Record) { r.Claims = exchange.Attributes{long: {long}} },
			[]string{"…sha256:"}, []string{long}},
	} {
		t.Run(name, func(t *testing.T) {
			e := event(exchange.EventIssued)
			c.set(&e.Record)
			entry, err := ledger.NewEntry(e)
			if err != nil {
				t.Fatal(err)
			}
			if err := entry.Check(); err != nil {
				t.Errorf("the entry would be refused: %v", err)
			}
			if !json.Valid(entry.Record) {
				t.Errorf("no JSON: %s", entry.Record)
			}
			for _, want := range c.want {
				if !bytes.Contains(entry.Record, []byte(want)) {
					t.Errorf("%q is not in %s", want, entry.Record)
				}
			}
			for _, not := range c.not {
				if bytes.Contains(entry.Record, []byte(not)) {
					t.Errorf("%q is in %.200s", not, entry.Record)
				}
			}
		})
	}
}

// TestS28LongTextsStayTwo: subjects that begin alike are not taken for one.
func TestS28LongTextsStayTwo(t *testing.T) {
	subjects := map[string]bool{}
	for _, end := range []string{"a", "b", ""} {
		e := event(exchange.EventIssued)
		e.Record.Subject = strings.Repeat("é", 2000) + end
		r, err := ledger.DecodeRecord(ledger.Encode(e))
		if err != nil || len(r.Subject) > 1024 || !utf8.ValidString(r.Subject) {
			t.Errorf("a subject of %d bytes, %v", len(r.Subject), err)
		}
		subjects[r.Subject] = true
	}
	if len(subjects) != 3 {
		t.Errorf("three subjects became %d", len(subjects))
	}
	e := event(exchange.EventIssued)
	e.Record.Subject = strings.Repeat("a", 1024) // just fits
	if r, _ := ledger.DecodeRecord(ledger.Encode(e)); r.Subject != e.Record.Subject {
		t.Error("a text that fits was cut")
	}
	e.Record.Subject += "a"
	if r, _ := ledger.DecodeRecord(ledger.Encode(e)); r.Subject == e.Record.Subject || len(r.Subject) != 1024 {
		t.Errorf("a text one byte too long came out with %d bytes", len(r.Subject))
	}
}

// TestS28WorstRecord: no record, whatever is in it, is longer than MaxRecord.
func TestS28WorstRecord(t *testing.T) {
	for _, text := range []string{"\x01", "a", "\xff", "é", `"`, "🏦", "\u2028"} {
		e := event(exchange.EventIssued)
		long := strings.Repeat(text, 3000)
		list := make([]string, 100)
		claims := exchange.Attributes{}
		for i := range list {
			list[i] = long + fmt.Sprint(i)
			claims[long+fmt.Sprint(i)] = list
		}
		v := reflect.ValueOf(&e.Record).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				f.SetString(long)
			case reflect.Slice:
				f.Set(reflect.ValueOf(list))
			case reflect.Map:
				f.Set(reflect.ValueOf(claims))
			case reflect.Int64:
				f.SetInt(-1 << 63)
			}
		}
		for name, list := range map[string][]string{"long lists": list, "short lists": nil} {
			if list == nil {
				e.Record.Claims = nil
			}
			b := ledger.Encode(e)
			if len(b) > ledger.MaxRecord || !json.Valid(b) {
				t.Errorf("%q, %s: %d bytes, JSON: %v", text, name, len(b), json.Valid(b))
			}
		}
	}
}

func TestDecodeRecord(t *testing.T) {
	if r, err := ledger.DecodeRecord([]byte(`{"subject":"s","of_a_later_version":{"x":1}}`)); err != nil || r.Subject != "s" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := ledger.DecodeRecord([]byte(`{"subject":5}`)); err == nil {
		t.Error("a number was read as a subject")
	}
}

// FuzzEncode: whatever text comes from outside, the record is JSON, storable,
// bounded, the same each time, and short valid text survives as it is.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff", `"\`, "\u2028\u2029", strings.Repeat("é", 700), strings.Repeat("\x1f", 300), "🏦", "a\xf0\x9f"} {
		f.Add(s, "scope", 3)
		f.Add("k8s:prod:llm:gateway", s, 40)
	}
	f.Fuzz(func(t *testing.T, text, item string, n int) {
		e := event(exchange.EventDenied)
		e.Record.Subject, e.Record.Reason, e.Record.Client = text, item+text, "after"
		for range min(max(n, 0), 200) {
			e.Record.AskedScopes = append(e.Record.AskedScopes, item)
		}
		e.Record.Claims = exchange.Attributes{text: {item, text}, item: e.Record.AskedScopes}
		entry, err := ledger.NewEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := entry.Check(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(entry.Record, ledger.Encode(e)) {
			t.Fatal("two encodings of one event")
		}
		r, err := ledger.DecodeRecord(entry.Record)
		if err != nil {
			t.Fatalf("%v: %s", err, entry.Record)
		}
		if r.Client != "after" || r.Exchange != e.Exchange.String() {
			t.Fatalf("a text reached into its neighbour: %s", entry.Record)
		}
		clean := strings.ReplaceAll(text, "\x00", "\uFFFD")
		if utf8.ValidString(text) && len(plainText(t, clean)) <= 1024 && r.Subject != clean {
			t.Fatalf("%q became %q", text, r.Subject)
		}
	})
}

// plainText is the text as JSON, without its quotes.
func plainText(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[1 : b.Len()-2]
}

func BenchmarkEncode(b *testing.B) {
	e := benchEvent()
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = ledger.Encode(e)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(e.Record); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchEvent() exchange.Event {
	e := event(exchange.EventIssued)
	e.Record = exchange.Record{
		Subject: "k8s:prod:llm:gateway", Trust: "prod", Target: "github-mcp", Provider: "mcp", Door: "oauth",
		GrantType: "urn:ietf:params:oauth:grant-type:token-exchange", TokenType: "urn:ietf:params:oauth:token-type:access_token",
		AskedTargets: []string{"github-mcp"}, AskedScopes: []string{"tools.read"}, Scopes: []string{"tools.read"},
		Lifetime: 900, Expires: "2026-11-21T10:15:00.000000Z", Rule: "gateway-uses-models",
		Revision: strings.Repeat("0123456789abcdef", 4), Outcome: "issued", Credential: strings.Repeat("fedcba9876543210", 4),
		Handle: e.ID.String(), Lease: e.ID.String(), ClientIP: "10.0.0.7", UserAgent: "curl/8.14.1",
		TokenID: e.ID.String(), KeyID: "k1", Claims: exchange.Attributes{"pod": {"gateway-0"}, "uid": {e.ID.String()}},
		Durations: &exchange.Durations{Verify: 120, Decide: 2, Vend: 40},
	}
	return e
}
