package postgres

import (
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// rows is a batch turned on its side, as unnest wants it: an array for each
// column. The arrays of a group are given in the order of its statement's
// parameters.
type rows struct {
	tenants []string // each once, if the batch is sorted by tenant
	events  struct {
		id, exchange, tenant, typ, at, deadline, record, epoch, realm, hash, relies array

		facts [6]array // as ledger.Facts has them; null where there is none
	}
	leases struct {
		event, tenant, id, exchange, target, provider, subject, rule, handle, sealed, issued, expires, state array

		actor, lineage, latest, origin array // null for most, so left out at the end
	}
	holds   struct{ tenant, id array } // the leases that entries rely on
	burns   struct{ tenant, realm, hash, exchange, expires, epoch, relies array }
	intents struct{ tenant, exchange, id array }
}

// maxKept is the memory in bytes that an array keeps: a full flush of usual records.
const maxKept = 1 << 20

// pool keeps the arrays' memory from one flush to the next.
var pool = sync.Pool{New: func() any { return newRows() }}

func newRows() *rows {
	r := &rows{}
	e, l, h, b, i := &r.events, &r.leases, &r.holds, &r.burns, &r.intents
	for oid, arrays := range map[uint32][]*array{
		pgtype.UUIDOID:        {&e.id, &e.exchange, &l.event, &l.id, &l.exchange, &h.id, &b.exchange, &i.exchange, &i.id},
		pgtype.TextOID:        {&e.tenant, &e.realm, &e.relies, &l.tenant, &l.target, &l.provider, &l.subject, &l.rule, &l.handle, &l.actor, &l.lineage, &h.tenant, &b.tenant, &b.realm, &b.relies, &i.tenant},
		pgtype.Int2OID:        {&e.typ, &l.state},
		pgtype.Int8OID:        {&e.epoch, &b.epoch, &e.facts[0], &e.facts[1], &e.facts[2], &e.facts[3], &e.facts[4], &e.facts[5]},
		pgtype.TimestamptzOID: {&e.at, &e.deadline, &l.issued, &l.expires, &l.latest, &b.expires},
		pgtype.JSONOID:        {&e.record},
		pgtype.ByteaOID:       {&e.hash, &l.sealed, &l.origin, &b.hash},
	} {
		for _, a := range arrays {
			a.oid = oid
		}
	}
	return r
}

func (r *rows) eventArguments() []any {
	e, l := &r.events, &r.leases
	return []any{
		&e.id, &e.exchange, &e.tenant, &e.typ, &e.at, &e.deadline, &e.record, &e.epoch, &e.realm, &e.hash, &e.relies,
		&e.facts[0], &e.facts[1], &e.facts[2], &e.facts[3], &e.facts[4], &e.facts[5],
		&l.event, &l.tenant, &l.id, &l.exchange, &l.target, &l.provider, &l.subject, &l.rule, &l.handle, &l.sealed, &l.issued, &l.expires, &l.state,
		&l.actor, &l.lineage, &l.latest, &l.origin,
	}
}

func (r *rows) burnArguments() []any {
	b := &r.burns
	return []any{&b.tenant, &b.realm, &b.hash, &b.exchange, &b.expires, &b.epoch, &b.relies}
}

func (r *rows) holdArguments() []any { return []any{&r.holds.tenant, &r.holds.id} }

func (r *rows) intentArguments() []any {
	i := &r.intents
	return []any{&i.tenant, &i.exchange, &i.id}
}

// gather fills rows from a batch. release gives the memory back.
func gather(entries []ledger.Entry) *rows {
	r := pool.Get().(*rows)
	for i := range entries {
		e := &entries[i]
		r.addEvent(i, e)
		if e.Lease != nil {
			r.addLease(e)
		}
	}
	return r
}

func (r *rows) release() {
	for _, a := range slices.Concat(r.eventArguments(), r.holdArguments(), r.burnArguments(), r.intentArguments()) {
		a := a.(*array)
		a.n, a.hasNull, a.body = 0, false, a.body[:0]
		if cap(a.body) > maxKept {
			a.body = nil
		}
	}
	r.tenants = r.tenants[:0]
	pool.Put(r)
}

func (r *rows) addEvent(i int, e *ledger.Entry) {
	to := &r.events
	to.id.id(e.ID)
	to.exchange.id(e.Exchange)
	to.tenant.text(e.Tenant)
	to.typ.int2(int16(e.Type))
	to.at.time(e.At)
	to.record.bytes(e.Record)
	to.epoch.int8(e.Epoch)
	if n := len(r.tenants); n == 0 || r.tenants[n-1] != e.Tenant {
		r.tenants = append(r.tenants, e.Tenant)
	}
	for column, fact := range e.Facts.Each() {
		if fact != 0 {
			to.facts[column].fill(i)
			to.facts[column].int8(fact)
		}
	}
	if e.Deadline != 0 {
		to.deadline.fill(i)
		to.deadline.time(e.Deadline)
	}
	if e.Type == exchange.EventIntent {
		r.intents.tenant.text(e.Tenant)
		r.intents.exchange.id(e.Exchange)
		r.intents.id.id(e.ID)
	}
	if len(e.Relies) > 0 {
		to.relies.fill(i)
		to.relies.ids(e.Relies)
		for _, lease := range e.Relies {
			r.holds.tenant.text(e.Tenant)
			r.holds.id.id(lease)
		}
	}
	if once := e.Once; once != nil {
		to.realm.fill(i)
		to.realm.text(once.Realm)
		to.hash.fill(i)
		to.hash.bytes(once.Hash[:])
		b := &r.burns
		if len(e.Relies) > 0 {
			b.relies.fill(int(b.tenant.n))
			b.relies.ids(e.Relies)
		}
		b.tenant.text(e.Tenant)
		b.realm.text(once.Realm)
		b.hash.bytes(once.Hash[:])
		b.exchange.id(e.Exchange)
		b.expires.time(once.Expires.UnixMicro())
		b.epoch.int8(e.Epoch)
	}
}

func (r *rows) addLease(e *ledger.Entry) {
	from, to := e.Lease, &r.leases
	i := int(to.event.n)
	to.event.id(e.ID)
	to.tenant.text(from.Tenant)
	to.id.id(from.ID)
	to.exchange.id(from.Exchange)
	to.target.text(from.Target)
	to.provider.text(from.Provider)
	to.subject.text(from.Subject)
	to.rule.text(from.Rule)
	to.handle.text(from.Handle)
	to.sealed.bytes(from.Sealed)
	to.issued.time(from.Issued.UnixMicro())
	to.expires.time(from.Expires.UnixMicro())
	to.state.int2(int16(from.State))
	if from.Actor != "" {
		to.actor.fill(i)
		to.actor.text(from.Actor)
	}
	if len(from.Lineage) > 0 {
		to.lineage.fill(i)
		to.lineage.ids(from.Lineage)
	}
	if !from.Latest.IsZero() {
		to.latest.fill(i)
		to.latest.time(from.Latest.UnixMicro())
	}
	if len(from.Origin) > 0 {
		to.origin.fill(i)
		to.origin.bytes(from.Origin)
	}
}
