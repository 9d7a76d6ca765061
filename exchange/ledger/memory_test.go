package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// errCut is how the connection fails.
var errCut = errors.New("the connection was cut")

// fault is how one call of Append fails.
type fault int

const (
	works  fault = iota
	lost         // nothing was persisted, and the call failed
	unsaid       // all of it was persisted, and the call failed
)

// memory is a Log in memory that holds to the contract, verifies what it is given,
// and fails where it is told to.
type memory struct {
	fail func(call int) fault // nil: never
	gate chan struct{}        // when set, each call takes one from it first

	mu      sync.Mutex
	calls   int
	batches [][]ledger.Entry
	events  map[exchange.ID][]ledger.Entry // by event id, as often as it was inserted
	intents map[exchange.ID]exchange.ID    // exchange → event
	ends    map[exchange.ID]exchange.ID
	burnt   map[[32]byte]exchange.ID
	leases  map[exchange.ID]bool
	epoch   int64
}

func newMemory() *memory {
	return &memory{
		events: map[exchange.ID][]ledger.Entry{}, intents: map[exchange.ID]exchange.ID{},
		ends: map[exchange.ID]exchange.ID{}, burnt: map[[32]byte]exchange.ID{}, leases: map[exchange.ID]bool{},
	}
}

func (m *memory) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	m.batches = append(m.batches, append([]ledger.Entry(nil), entries...))
	how := works
	if m.fail != nil {
		how = m.fail(m.calls)
	}
	if how == lost {
		return nil, errCut
	}
	results := make([]ledger.Result, len(entries))
	for i, e := range entries {
		results[i] = ledger.Result{Status: m.insert(e), Epoch: m.epoch}
		if err := e.Check(); err != nil {
			results[i] = ledger.Result{Status: ledger.StatusFaulty, Err: err}
		}
	}
	if how == unsaid {
		return nil, errCut
	}
	return results, nil
}

func (m *memory) insert(e ledger.Entry) ledger.Status {
	if stored := m.events[e.ID]; len(stored) > 0 {
		if string(stored[0].Record) == string(e.Record) {
			return ledger.StatusReplayed
		}
		return ledger.StatusFaulty
	}
	_, intended := m.intents[e.Exchange]
	_, ended := m.ends[e.Exchange]
	switch {
	case e.Type == exchange.EventIntent && intended, e.Type.Terminal() && ended:
		return ledger.StatusSettled
	case e.Epoch != ledger.AnyEpoch && e.Epoch != m.epoch:
		return ledger.StatusStale
	}
	if e.Once != nil {
		if by, found := m.burnt[e.Once.Hash]; found && by != e.Exchange {
			return ledger.StatusUsed
		}
		m.burnt[e.Once.Hash] = e.Exchange
	}
	if e.Lease != nil {
		m.leases[e.Lease.ID] = true
	}
	if e.Type == exchange.EventIntent {
		m.intents[e.Exchange] = e.ID
	}
	if e.Type.Terminal() {
		m.ends[e.Exchange] = e.ID
	}
	m.events[e.ID] = append(m.events[e.ID], e)
	return ledger.StatusInserted
}

// times is how often the event is in the log.
func (m *memory) times(id exchange.ID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events[id])
}

func (m *memory) called() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (*memory) Pending(context.Context, int) ([]exchange.Intent, error) {
	return nil, errors.New("a ledger does not ask for what is pending")
}

func (*memory) List(context.Context, ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	return nil, "", errors.New("a ledger does not list")
}

func (*memory) Get(context.Context, string, exchange.ID) ([]ledger.Exchange, error) {
	return nil, errors.New("a ledger does not read")
}

// counter counts what a Meter is told.
type counter struct {
	mu                               sync.Mutex
	flushes, entries, failed, bytes_ int
	refused                          int
}

func (c *counter) Flushed(entries, bytes int, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took < 0 {
		panic(fmt.Sprintf("a flush took %v", took))
	}
	c.flushes++
	c.entries += entries
	c.bytes_ += bytes
	if err != nil {
		c.failed++
	}
}

func (c *counter) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused++
}
