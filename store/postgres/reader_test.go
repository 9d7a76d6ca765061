package postgres_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestReaderOfTheGuide runs what docs/operations.md tells a team to run: the role
// reads the views, and nothing else.
func TestReaderOfTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(guide), "### Your own queries")
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(part, 2)
	if len(blocks) != 2 {
		t.Fatal("the guide has no such SQL")
	}
	d := migrated(t)
	s := open(t, d)
	if r, err := s.Append(t.Context(), []ledger.Entry{realistic(t, 1)}); err != nil || r[0].Status != ledger.StatusInserted {
		t.Fatalf("%v %v", r, err)
	}
	if _, err := s.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // roles are the cluster's, which tests share
		if err := d.Try(context.Background(), pgtest.Superuser, "drop owned by guide_reader; drop role guide_reader"); err != nil {
			t.Error(err)
		}
	})
	d.Exec(t, pgtest.Superuser, strings.ReplaceAll(blocks[0][1], "audit_reader", "guide_reader"))
	for query := range strings.SplitSeq(blocks[1][1], ";") {
		if strings.TrimSpace(query) == "" {
			continue
		}
		if err := d.Try(t.Context(), pgtest.Superuser, "set session authorization guide_reader; "+query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, query := range []string{
		"select 1 from cambio.keys", "select 1 from cambio.leases", "select 1 from cambio.events", "select 1 from cambio.used",
		"delete from cambio.counts", "update cambio.rolled set tx = '0'",
	} {
		if err := d.Try(t.Context(), pgtest.Superuser, "set session authorization guide_reader; "+query); err == nil {
			t.Errorf("the reader may: %s", query)
		}
	}
}

// TestRestoredIntoANewCluster: where transactions are numbered from below those of
// the ledger, nothing is counted wrongly: it is not counted.
func TestRestoredIntoANewCluster(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	d.Exec(t, pgtest.OwnerRole, "update cambio.rolled set tx = '999999999999'")
	if _, err := s.Roll(t.Context()); err == nil || !strings.Contains(err.Error(), "restored") {
		t.Errorf("Roll: %v", err)
	}
	q := ledger.SummaryQuery{Tenant: "default", Until: ledger.Hour, Limit: 1}
	if _, err := s.Summarize(t.Context(), q); err == nil || !strings.Contains(err.Error(), "restored") {
		t.Errorf("Summarize: %v", err)
	}
}
