package api_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// bureau is an Exchanger that keeps what it was asked.
type bureau struct {
	mu     sync.Mutex
	asked  []exchange.Request
	answer func(ctx context.Context, r exchange.Request) (exchange.Receipt, error)
}

func (b *bureau) Exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	answer := b.answer
	b.mu.Unlock()
	return answer(ctx, r)
}

func (b *bureau) last(t *testing.T) exchange.Request {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		t.Fatal("the exchange was not asked")
	}
	return b.asked[len(b.asked)-1]
}

func (b *bureau) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

// verifier knows the tokens above.
type verifier struct{ down bool }

func (v *verifier) Verify(_ context.Context, t exchange.Token, _ time.Time) (exchange.Subject, error) {
	if v.down {
		return exchange.Subject{}, exchange.Fault(exchange.KindUnavailable, "the keys of the issuer could not be had; try again", errors.New("dial tcp 10.9.8.7"))
	}
	s := exchange.Subject{
		Tenant: "default", Trust: "corp", Clientless: exchange.ClientlessYes, JTI: "jti-1", KeyID: "kid-1",
		Expires: noon.Add(time.Hour), Audience: []string{"cambio"},
	}
	switch t.Value.Reveal() {
	case auditor:
		s.Name = "oidc:corp:ada"
	case operator:
		s.Name = "oidc:corp:oscar"
	case nobody:
		s.Name = "oidc:corp:nemo"
	case elsewhere:
		s.Name, s.Tenant = "oidc:corp:ada", "elsewhere"
	case replayed:
		s.Name, s.Clientless = "oidc:corp:ada", exchange.ClientlessWithActor
	case burning:
		s.Name, s.Once = "oidc:corp:ada", &exchange.Once{Realm: "jti:corp"}
	case delegated:
		s.Name, s.Asserted = "oidc:corp:ada", []exchange.Actor{{Name: "somebody"}}
	default:
		return exchange.Subject{}, exchange.Fault(exchange.KindInvalidSubject, "the token is not of a trusted issuer", errors.New("signature"))
	}
	return s, nil
}

func roles(s exchange.Subject) []string {
	switch s.Name {
	case "oidc:corp:ada":
		return []string{"reader-of-novels", "auditor"}
	case "oidc:corp:oscar":
		return []string{"operator"}
	}
	return nil
}

// book is a Log in memory, and the ledger's Note beside it. It refuses queries
// that an engine would not stand.
type book struct {
	mu      sync.Mutex
	rows    []ledger.Exchange
	notes   []exchange.Event
	reads   int
	noteErr error
	readErr error
}

func (b *book) Note(_ context.Context, e exchange.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noteErr != nil {
		return b.noteErr
	}
	b.notes = append(b.notes, e)
	return nil
}

func (b *book) read() error {
	b.reads++
	if b.readErr != nil {
		return b.readErr
	}
	if b.reads > len(b.notes) {
		return errors.New("read before it was noted")
	}
	return nil
}

func (b *book) List(_ context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, "", err
	}
	if q.Tenant == "" || q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", errors.New("a query that no engine takes")
	}
	var found []ledger.Exchange
	for _, row := range slices.Backward(b.rows) { // ids rise with time
		r, err := ledger.DecodeRecord(row.Record)
		if err != nil {
			return nil, "", err
		}
		if row.Tenant != q.Tenant || !row.Type.Terminal() || q.After != "" && row.Exchange.String() >= string(q.After) || !matches(q.Filter.Root, row, r) {
			continue
		}
		if len(found) == q.Limit {
			return found, ledger.Cursor(found[len(found)-1].Exchange.String()), nil
		}
		found = append(found, row)
	}
	return found, "", nil
}

func (b *book) Get(_ context.Context, tenant string, id exchange.ID) ([]ledger.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, err
	}
	var found []ledger.Exchange
	for _, row := range b.rows {
		if row.Tenant == tenant && row.Exchange == id {
			found = append(found, row)
		}
	}
	return found, nil
}

// Tail goes by the order of rows, and looks at three at a time.
func (b *book) Tail(_ context.Context, q ledger.TailQuery) (found []ledger.Exchange, next ledger.Place, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readErr != nil || len(b.notes) == 0 {
		return nil, "", false, cmp.Or(b.readErr, errors.New("read before it was noted"))
	}
	if q.Tenant == "" || q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", false, errors.New("a query that no engine takes")
	}
	from := len(b.rows)
	if q.After != "" {
		if from, err = strconv.Atoi(string(q.After)); err != nil {
			return nil, "", false, err
		}
	}
	end := min(from+3, len(b.rows))
	for _, row := range b.rows[from:end] {
		r, err := ledger.DecodeRecord(row.Record)
		if err != nil {
			return nil, "", false, err
		}
		if row.Tenant == q.Tenant && row.Type.Terminal() && matches(q.Filter.Root, row, r) {
			found = append(found, row)
		}
	}
	return found, ledger.Place(strconv.Itoa(end)), end < len(b.rows), nil
}

func (b *book) After(_ context.Context, tenant string, id exchange.ID) (ledger.Place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, row := range b.rows {
		if row.Tenant == tenant && row.Exchange == id && row.Type.Terminal() {
			return ledger.Place(strconv.Itoa(i + 1)), nil
		}
	}
	return "", exchange.Fault(exchange.KindNotFound, "there is no such exchange", nil)
}

// Summarize counts by everything that is asked for, the slow way.
func (b *book) Summarize(_ context.Context, q ledger.SummaryQuery) (out ledger.Summary, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return out, err
	}
	if err := q.Check(); err != nil {
		return out, err
	}
	counts := map[ledger.Count]int64{}
	for _, row := range b.rows {
		r, err := ledger.DecodeRecord(row.Record)
		if err != nil {
			return out, err
		}
		if row.Tenant != q.Tenant || !row.Type.Terminal() || row.At < q.From || row.At >= q.Until || !matches(q.Filter.Root, row, r) {
			continue
		}
		all := ledger.Count{Hour: row.At - row.At%ledger.Hour, Subject: r.Subject, Target: r.Target, Rule: r.Rule, Outcome: row.Type}
		var c ledger.Count
		for _, d := range q.By {
			switch d {
			case ledger.ByHour:
				c.Hour = all.Hour
			case ledger.BySubject:
				c.Subject = all.Subject
			case ledger.ByTarget:
				c.Target = all.Target
			case ledger.ByRule:
				c.Rule = all.Rule
			case ledger.ByOutcome:
				c.Outcome = all.Outcome
			}
		}
		counts[c]++
		out.Total++
	}
	for c, n := range counts {
		c.N = n
		out.Rows = append(out.Rows, c)
	}
	slices.SortFunc(out.Rows, func(a, b ledger.Count) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(b.N, a.N), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	out.Groups = int64(len(out.Rows))
	out.Rows = out.Rows[:min(q.Limit, len(out.Rows))]
	return out, nil
}

// matches evaluates a filter the slow way.
func matches(n *ledger.Node, row ledger.Exchange, r exchange.Record) bool {
	if n == nil {
		return true
	}
	switch n.Op {
	case ledger.OpAnd:
		return !slices.ContainsFunc(n.Nodes, func(n *ledger.Node) bool { return !matches(n, row, r) })
	case ledger.OpOr:
		return slices.ContainsFunc(n.Nodes, func(n *ledger.Node) bool { return matches(n, row, r) })
	case ledger.OpNot:
		return !matches(n.Nodes[0], row, r)
	}
	var order int
	value := ""
	if n.Field == ledger.FieldTime {
		order = int(row.At - n.Value.Time)
	} else {
		value = map[ledger.Field]string{
			ledger.FieldSubject: r.Subject, ledger.FieldActor: r.Actor, ledger.FieldTarget: r.Target,
			ledger.FieldOutcome: r.Outcome, ledger.FieldRule: r.Rule, ledger.FieldReason: r.Reason,
			ledger.FieldExchange: r.Exchange, ledger.FieldErrorKind: r.ErrorKind, ledger.FieldCredential: r.Credential,
		}[n.Field]
		order = strings.Compare(value, n.Value.Text)
	}
	switch n.Op {
	case ledger.OpEq:
		return order == 0
	case ledger.OpNe:
		return order != 0
	case ledger.OpLt:
		return order < 0
	case ledger.OpLe:
		return order <= 0
	case ledger.OpGt:
		return order > 0
	case ledger.OpGe:
		return order >= 0
	}
	return strings.Contains(value, n.Value.Text)
}

// add writes a row; n makes its id and its second.
func (b *book) add(t *testing.T, n int, of exchange.EventType, tenant string, r exchange.Record) exchange.ID {
	t.Helper()
	at := noon.Add(time.Duration(n) * time.Second)
	id, err := exchange.NewID(at, bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)}))
	if err != nil {
		t.Fatal(err)
	}
	b.addEvent(t, id, at, of, tenant, r)
	return id
}

func (b *book) addEvent(t *testing.T, id exchange.ID, at time.Time, of exchange.EventType, tenant string, r exchange.Record) {
	t.Helper()
	if of.Terminal() {
		r.Outcome = of.String()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	record := ledger.Encode(exchange.Event{ID: id, Exchange: id, Tenant: tenant, Type: of, At: at, Record: r})
	b.rows = append(b.rows, ledger.Exchange{ID: id, Exchange: id, Tenant: tenant, Type: of, At: at.UnixMicro(), Record: record})
}

// fail makes reads and notes fail from now on.
func (b *book) fail(read, note error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readErr, b.noteErr = read, note
}

func (b *book) noted() []exchange.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notes)
}

// Deeds is the slow way, too.
func (b *book) Deeds(_ context.Context, q ledger.DeedQuery) (found []ledger.Exchange, next ledger.Cursor, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, "", err
	}
	if q.Tenant == "" || q.Limit < 1 || q.Limit > ledger.MaxPage || len(q.Types) == 0 {
		return nil, "", errors.New("a query that no engine takes")
	}
	for _, row := range slices.Backward(b.rows) {
		if row.Tenant != q.Tenant || !slices.Contains(q.Types, row.Type) || q.After != "" && row.ID.String() >= string(q.After) {
			continue
		}
		if len(found) == q.Limit {
			return found, ledger.Cursor(found[len(found)-1].ID.String()), nil
		}
		found = append(found, row)
	}
	return found, "", nil
}
