package policy_test

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange/policy"
)

// folder is a file system that can change while it is watched.
type folder struct {
	mu    sync.Mutex
	files fstest.MapFS
}

func (f *folder) Open(name string) (fs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files.Open(name)
}

func (f *folder) write(pairs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = files(pairs...)
}

type watched struct {
	*policy.Set
	*folder
	mu     sync.Mutex
	loaded []string
	faults []string
	mended int
	delays int
}

func (w *watched) seen() (loaded, faults int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.loaded), len(w.faults)
}

func watch(t *testing.T, db *database) *watched {
	w := &watched{Set: open(t, db), folder: &folder{files: files("a.yaml", small)}}
	if err := w.Activate(context.Background(), load(t, "a.yaml", small)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = policy.Watch(ctx, policy.WatchOptions{
			FS: w.folder, Load: policy.Options{Providers: shelf{}}, Set: w.Set,
			OnLoad:   func(r *policy.Revision) { w.mu.Lock(); defer w.mu.Unlock(); w.loaded = append(w.loaded, r.Hash()) },
			OnFault:  func(err error) { w.mu.Lock(); defer w.mu.Unlock(); w.faults = append(w.faults, err.Error()) },
			OnMended: func() { w.mu.Lock(); defer w.mu.Unlock(); w.mended++ },
			OnDelay:  func(error) { w.mu.Lock(); defer w.mu.Unlock(); w.delays++ },
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, newDatabase())
		pass(20 * time.Second)
		if loaded, faults := w.seen(); loaded+faults != 0 {
			t.Error("nothing changed")
		}
		old := w.Revision()

		w.write("a.yaml", small+"allow: [") // the same key twice, and an open list
		pass(20 * time.Second)
		if loaded, faults := w.seen(); loaded != 0 || faults != 1 || w.Revision() != old {
			t.Errorf("a broken edit keeps the old revision and is told once: %v", w.faults)
		}
		if !strings.Contains(w.faults[0], "a.yaml:13:") {
			t.Error(w.faults[0])
		}
		w.write("a.yaml", small+"alow: []")
		pass(20 * time.Second)
		if _, faults := w.seen(); faults != 2 {
			t.Error("another fault is told too")
		}
		w.write()
		pass(20 * time.Second)
		if _, faults := w.seen(); faults != 3 || w.Revision() != old {
			t.Error("an empty folder is no policy")
		}

		w.write("a.yaml", small+"# good\n", "a_test.yaml", "cases: []")
		pass(6 * time.Second)
		if loaded, _ := w.seen(); loaded != 1 || w.Revision() == old {
			t.Error("a good edit is in force")
		}
		w.write("a.yaml", small+"# good\n", "a_test.yaml", "cases: [broken")
		pass(20 * time.Second)
		if loaded, faults := w.seen(); loaded != 1 || faults != 3 {
			t.Error("tests are no part of the policy")
		}
	})
}

// Taking a broken edit back loads nothing, so it must be told by itself.
func TestWatchTellsThatABrokenEditWasTakenBack(t *testing.T) {
	for name, broken := range map[string][]string{
		"a fault":          {"a.yaml", small + "alow: []"},
		"no folder at all": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, newDatabase())
				for round := 1; round <= 2; round++ {
					w.write(broken...)
					pass(20 * time.Second)
					if loaded, faults := w.seen(); loaded != 0 || faults != round || w.mended != round-1 {
						t.Fatalf("round %d: loaded %d, faults %d, mended %d", round, loaded, faults, w.mended)
					}
					w.write("a.yaml", small)
					pass(20 * time.Second)
					if loaded, faults := w.seen(); loaded != 0 || faults != round || w.mended != round {
						t.Fatalf("round %d, taken back: loaded %d, faults %d, mended %d", round, loaded, faults, w.mended)
					}
				}
			})
		})
	}
}

func TestWatchTakesNothingHalfWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, newDatabase())
		pass(time.Second)
		w.write("a.yaml", house) // valid, and without the rule that follows in a moment
		pass(4*time.Second + 100*time.Millisecond)
		w.write("a.yaml", house+"allow: [{name: b, subjects: [{trust: corp}], targets: [wiki]}]\n")
		pass(time.Second)
		if loaded, _ := w.seen(); loaded != 0 {
			t.Error("the first half was taken")
		}
		pass(10 * time.Second)
		if loaded, _ := w.seen(); loaded != 1 {
			t.Error("the whole was not taken")
		}
	})
}

func TestWatchTriesAgainWhenTheDatabaseIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		w := watch(t, db)
		db.fail(fs.ErrClosed)
		w.write("a.yaml", small+"# two\n")
		pass(16 * time.Second)
		if loaded, faults := w.seen(); loaded != 0 || faults != 0 || w.delays != 3 {
			t.Errorf("loaded %d, faults %d: a database that is away is no fault of the files; delayed %d times, want 3", loaded, faults, w.delays)
		}
		db.fail(nil)
		pass(6 * time.Second)
		if loaded, _ := w.seen(); loaded != 1 {
			t.Error("it is not tried again")
		}
	})
}
