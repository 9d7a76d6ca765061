package postgres_test

import (
	"fmt"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestS33TransactionsAreNumbers: a tail goes by the numbers of transactions and not
// by their digits, or else it would skip rows each time they get one more.
func TestS33TransactionsAreNumbers(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	var made []ledger.Entry
	for i, tx := range []int{3, 9, 10, 11, 99, 100} { // before every transaction of ours
		e := realistic(t, i)
		made = append(made, e)
		d.Exec(t, pgtest.Superuser, fmt.Sprintf(
			"insert into cambio.events (id, exchange, tenant, type, at, record, tx) values ('%s', '%s', 'default', 2, now(), '%s', '%d')",
			e.ID, e.Exchange, e.Record, tx))
	}
	after, err := s.After(t.Context(), "default", made[0].Exchange)
	if err != nil {
		t.Fatal(err)
	}
	var got []exchange.ID
	for more := true; more; {
		var rows []ledger.Exchange
		if rows, after, more, err = s.Tail(t.Context(), ledger.TailQuery{Tenant: "default", Limit: 1, After: after}); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			got = append(got, row.Exchange)
		}
		if len(got) > len(made) {
			break
		}
	}
	var want []exchange.ID
	for _, e := range made[1:] {
		want = append(want, e.Exchange)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
