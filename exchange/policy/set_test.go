package policy_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// database keeps what State keeps, by the rules that State's comments state.
type database struct {
	mu     sync.Mutex
	hashes []string
	loaded []time.Time
	epoch  int64
	denies []exchange.Deny
	events []exchange.Event
	err    error
	skew   time.Duration // of its clock
	reads  int
	gate   chan struct{} // when set, Denies waits here
}

func newDatabase() *database { return &database{} }

func (db *database) LoadRevision(_ context.Context, _, hash, replaces string, event exchange.Event) (int64, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.err != nil {
		return 0, db.err
	}
	newest := ""
	if n := len(db.hashes); n > 0 {
		newest = db.hashes[n-1]
	}
	if newest == hash || newest != replaces || replaces == "" {
		for i, h := range slices.Backward(db.hashes) {
			if h == hash {
				return int64(i + 1), nil
			}
		}
	}
	db.hashes, db.loaded, db.events = append(db.hashes, hash), append(db.loaded, time.Now().Add(db.skew)), append(db.events, event)
	return int64(len(db.hashes)), nil
}

func (db *database) NewestRevision(context.Context, string) (int64, string, time.Time, time.Time, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := len(db.hashes)
	if db.err != nil || n == 0 {
		return 0, "", time.Time{}, time.Time{}, db.err
	}
	return int64(n), db.hashes[n-1], db.loaded[n-1], time.Now().Add(db.skew), nil
}

func (db *database) Denies(context.Context, string) (exchange.DenyList, error) {
	db.mu.Lock()
	gate := db.gate
	db.reads++
	list, err := exchange.DenyList{Epoch: db.epoch, Denies: append([]exchange.Deny(nil), db.denies...)}, db.err
	db.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return list, err
}

func (db *database) AddDeny(context.Context, exchange.Deny, exchange.Event) (int64, error) {
	return 0, errors.New("not asked of a Set")
}

func (db *database) RemoveDeny(context.Context, string, exchange.ID, exchange.Event) (bool, error) {
	return false, errors.New("not asked of a Set")
}

func (db *database) add(d exchange.Deny) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if d.Tenant == "default" {
		db.epoch++
	}
	db.denies = append(db.denies, d)
}

func (db *database) fail(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.err = err
}

// another replica loads a policy.
func (db *database) other(t *testing.T, hash string) {
	t.Helper()
	if _, err := db.LoadRevision(context.Background(), "default", hash, "", exchange.Event{}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, db *database, change ...func(*policy.SetOptions)) *policy.Set {
	t.Helper()
	o := policy.SetOptions{State: db, Now: time.Now, Random: rand.Reader}
	for _, c := range change {
		c(&o)
	}
	return policy.NewSet(o)
}

const small = house + "allow: [{name: a, subjects: [{trust: corp}], targets: [wiki]}]\n"

// running starts a set inside a bubble and stops it at the end of the test.
func running(t *testing.T, s *policy.Set) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSetNeedsARevision(t *testing.T) {
	s := open(t, newDatabase())
	if _, err := s.Current(); exchange.KindOf(err) != exchange.KindUnavailable || s.Status() == nil || s.Revision() != nil {
		t.Error(err)
	}
	if err := s.Refresh(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestSetActivates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		var handed []string
		var refuse error
		s := open(t, db, func(o *policy.SetOptions) {
			o.OnActivate = func(r *policy.Revision) error { handed = append(handed, r.Hash()); return refuse }
		})
		one, two := load(t, "a.yaml", small), load(t, "a.yaml", small+"# two\n")
		if err := s.Activate(context.Background(), one); err != nil {
			t.Fatal(err)
		}
		q := ask(t, one, alice, "wiki")
		if d := decideNow(t, s, q); !d.Allowed || d.Revision.Seq != 1 || d.Revision.Hash != one.Hash() {
			t.Errorf("%+v", d)
		}
		if e := db.events[0]; e.Type != exchange.EventPolicyLoaded || e.Record.Revision != one.Hash() || e.ID.IsZero() || e.Tenant != "default" {
			t.Errorf("%+v", e)
		}
		pinned, err := s.Current()
		if err != nil {
			t.Fatal(err)
		}

		refuse = errors.New("no such file")
		if err := s.Activate(context.Background(), two); err == nil || s.Revision() != one {
			t.Error("the verifier refused, so the old revision stays:", err)
		}
		refuse = nil
		db.fail(errors.New("down"))
		if err := s.Activate(context.Background(), two); err == nil || s.Revision() != one {
			t.Error("the database failed, so the old revision stays:", err)
		}
		if last := handed[len(handed)-1]; last != one.Hash() {
			t.Error("the verifier has the old trusts again")
		}
		db.fail(nil)
		if err := s.Activate(context.Background(), two); err != nil || s.Revision() != two {
			t.Error(err)
		}
		if d := pinned.Decide(q); d.Revision.Hash != one.Hash() {
			t.Error("an exchange keeps the revision that it began with")
		}
		other, err := policy.Load(files("a.yaml", small), policy.Options{Tenant: "other", Providers: shelf{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Activate(context.Background(), other); err == nil {
			t.Error("another tenant's policy is refused")
		}
	})
}

func TestS21BehindTheNewestIssuesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.skew = 3 * time.Hour // the age of a revision is the database's own business
		s := open(t, db)
		one := load(t, "a.yaml", small)
		if err := s.Activate(context.Background(), one); err != nil {
			t.Fatal(err)
		}
		running(t, s)
		pass(time.Minute)
		if err := s.Status(); err != nil {
			t.Fatal(err)
		}
		db.other(t, "newer")
		pass(9 * time.Second)
		if err := s.Status(); err != nil {
			t.Error("ten seconds are for everyone to follow:", err)
		}
		pass(2 * time.Second)
		if _, err := s.Current(); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Error("behind for more than ten seconds:", err)
		}
		if err := s.Status(); err == nil || !strings.Contains(err.Error(), "number 1 and number 2") {
			t.Error(err)
		}
		two := load(t, "a.yaml", small+"# two\n")
		if err := s.Activate(context.Background(), two); err != nil || s.Status() != nil {
			t.Error(err, s.Status())
		}
		// Changed back under a replica that has the newest: that is an act, and
		// newer still.
		if err := s.Activate(context.Background(), one); err != nil {
			t.Fatal(err)
		}
		pass(12 * time.Second)
		if d := decideNow(t, s, ask(t, one, alice, "wiki")); d.Revision.Seq != 4 {
			t.Errorf("%+v", d)
		}
		// A replica that starts with files of before is behind.
		stale := open(t, db)
		if err := stale.Activate(context.Background(), two); err != nil {
			t.Fatal(err)
		}
		running(t, stale)
		pass(12 * time.Second)
		if err := stale.Status(); err == nil || !strings.Contains(err.Error(), "keep their old number") {
			t.Error(err)
		}
	})
}

func TestS21SilenceOfTheDatabaseCountsAsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		failures := 0
		s := open(t, db, func(o *policy.SetOptions) { o.OnError = func(error) { failures++ } })
		if err := s.Activate(context.Background(), load(t, "a.yaml", small)); err != nil {
			t.Fatal(err)
		}
		running(t, s)
		pass(time.Second)
		db.fail(errors.New("down"))
		pass(5 * time.Second)
		if err := s.Status(); err != nil {
			t.Error(err)
		}
		pass(10 * time.Second)
		if err := s.Status(); err == nil || failures < 10 {
			t.Error("nothing is known for ten seconds", err, failures)
		}
		db.fail(nil)
		pass(time.Second)
		if err := s.Status(); err != nil {
			t.Error(err)
		}
	})
}

func TestS31RefreshReadsAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		s := open(t, db)
		r := load(t, "a.yaml", small)
		if err := s.Activate(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		q := ask(t, r, alice, "wiki")
		db.mu.Lock()
		gate := make(chan struct{})
		db.gate = gate
		before := db.reads
		db.mu.Unlock()
		first := make(chan error, 1)
		go func() { first <- s.Refresh(context.Background()) }()
		synctest.Wait() // it has read the old list and hangs

		db.add(exchange.Deny{Tenant: "default", Match: map[string]string{"subject": alice}})
		var later sync.WaitGroup
		for range 100 {
			later.Go(func() {
				if err := s.Refresh(context.Background()); err != nil {
					t.Error(err)
				}
				if decideNow(t, s, q).Allowed {
					t.Error("refreshed after the deny, and it does not bind")
				}
			})
		}
		synctest.Wait()
		impatient, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Refresh(impatient); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		db.mu.Lock()
		db.gate = nil
		db.mu.Unlock()
		close(gate)
		if err := <-first; err != nil {
			t.Error(err)
		}
		later.Wait()
		if n := db.reads - before; n > 3 {
			t.Errorf("a hundred callers cost %d readings", n)
		}
		if d := decideNow(t, s, q); d.Epoch != 1 || d.Rule == "" || !strings.HasPrefix(d.Rule, "emergency:") {
			t.Errorf("%+v", d)
		}
	})
}

func TestRunFollowsDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		s := open(t, db)
		r := load(t, "a.yaml", small)
		if err := s.Activate(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		running(t, s)
		q := ask(t, r, alice, "wiki")
		db.add(exchange.Deny{Tenant: "default", Match: map[string]string{"trust": "corp"}})
		pass(1100 * time.Millisecond)
		if decideNow(t, s, q).Allowed {
			t.Error("the deny is a second old")
		}
		db.mu.Lock()
		db.denies, db.epoch = nil, 2
		db.mu.Unlock()
		pass(1100 * time.Millisecond)
		if d := decideNow(t, s, q); !d.Allowed || d.Epoch != 2 {
			t.Errorf("%+v", d)
		}
	})
}

// TestS31ActivateKeepsNewerDenies: an Activate that read the denies early and comes
// to its end late must not bring the old list back.
func TestS31ActivateKeepsNewerDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		s := open(t, db)
		one, two := load(t, "a.yaml", small), load(t, "a.yaml", small+"# two\n")
		if err := s.Activate(context.Background(), one); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		db.mu.Lock()
		db.gate = gate
		db.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- s.Activate(context.Background(), two) }()
		synctest.Wait() // it has read, and hangs
		db.mu.Lock()
		db.gate = nil
		db.mu.Unlock()
		db.add(exchange.Deny{Tenant: "default", Match: map[string]string{"subject": alice}})
		if err := s.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := decideNow(t, s, ask(t, two, alice, "wiki")); d.Allowed || d.Epoch != 1 || d.Revision.Seq != 2 {
			t.Errorf("%+v", d)
		}
	})
}
