package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
)

// NewEntry encodes an event for the log, bound to no epoch. What comes from
// outside is made storable here, before it is queued (S28); what is left to fail
// is a fault of ours, and is an error.
func NewEntry(e exchange.Event) (Entry, error) {
	switch {
	case e.ID.IsZero() || e.Exchange.IsZero():
		return Entry{}, errors.New("an event without an id")
	case e.Type.String() == "":
		return Entry{}, fmt.Errorf("an event of unknown type %d", e.Type)
	case e.At.IsZero():
		return Entry{}, errors.New("an event without a time")
	}
	if err := checkTenant(e.Tenant); err != nil {
		return Entry{}, err
	}
	record, facts := encode(e)
	return Entry{
		ID: e.ID, Exchange: e.Exchange, Tenant: e.Tenant, Type: e.Type, At: e.At.UnixMicro(),
		Record: record, Facts: facts, Epoch: AnyEpoch,
	}, nil
}

// Check says what in the entry no engine would store. Engines ask it when a batch
// has failed, to tell the entry at fault from its neighbours (S28); that the
// record is JSON is the engine's own to say.
func (e Entry) Check() error {
	switch {
	case e.ID.IsZero() || e.Exchange.IsZero():
		return errors.New("an entry without an id")
	case e.Type.String() == "":
		return fmt.Errorf("an entry of unknown type %d", e.Type)
	case len(e.Record) == 0 || e.Record[0] != '{':
		return errors.New("an entry whose record is no JSON object")
	case len(e.Record) > MaxRecord:
		return fmt.Errorf("an entry of %d bytes: %d is the most", len(e.Record), MaxRecord)
	case !storable(e.Record):
		return errors.New("an entry whose record holds NUL or invalid UTF-8")
	}
	if err := checkTenant(e.Tenant); err != nil {
		return err
	}
	if e.Lease != nil && e.Lease.ID.IsZero() {
		return errors.New("an entry whose lease has no id")
	}
	return nil
}

func checkTenant(tenant string) error {
	switch {
	case tenant == "":
		return errors.New("an event without a tenant")
	case len(tenant) > MaxTenant:
		return fmt.Errorf("a tenant's name of %d bytes: %d is the most", len(tenant), MaxTenant)
	case !storable([]byte(tenant)):
		return errors.New("a tenant's name with NUL or invalid UTF-8")
	}
	return nil
}

// storable reports whether both engines keep the text as it is: no NUL, plain or
// as a JSON escape (Postgres refuses to read that out again), and valid UTF-8.
func storable(text []byte) bool {
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return false
	}
	for rest := text; ; {
		i := bytes.Index(rest, []byte(`\u0000`))
		if i < 0 {
			return true
		}
		backslashes := 0
		for j := i; j >= 0 && rest[j] == '\\'; j-- {
			backslashes++
		}
		if backslashes%2 == 1 {
			return false
		}
		rest = rest[i+1:]
	}
}

// IntentOf reads a stored intent back. The deny epoch that its decision looked at
// stands in its record.
func IntentOf(id, of exchange.ID, tenant string, at, deadline time.Time, record []byte) (exchange.Intent, error) {
	r, err := DecodeRecord(record)
	if err != nil {
		return exchange.Intent{}, fmt.Errorf("reading the record of intent %s: %w", id, err)
	}
	return exchange.Intent{
		Event:    exchange.Event{ID: id, Exchange: of, Tenant: tenant, Type: exchange.EventIntent, At: at, Record: r},
		Deadline: deadline, Epoch: r.Epoch,
	}, nil
}
