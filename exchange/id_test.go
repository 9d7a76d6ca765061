package exchange_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms := rapid.Int64Range(0, 1<<47).Draw(rt, "ms")
		random := rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(rt, "random")
		at := time.UnixMilli(ms)
		id, err := exchange.NewID(at, bytes.NewReader(random))
		if err != nil {
			rt.Fatal(err)
		}
		if !id.Time().Equal(at) {
			rt.Fatalf("made for %v, it says %v", at, id.Time())
		}
		again, err := exchange.ParseID(id.String())
		if err != nil || again != id {
			rt.Fatalf("%s reads back as %s: %v", id, again, err)
		}
		var decoded struct{ ID exchange.ID }
		encoded, err := json.Marshal(struct{ ID exchange.ID }{id})
		if err != nil {
			rt.Fatal(err)
		}
		if err := json.Unmarshal(encoded, &decoded); err != nil || decoded.ID != id {
			rt.Fatalf("JSON %s reads back as %s: %v", encoded, decoded.ID, err)
		}
	})
}

func TestIDsSortByTime(t *testing.T) {
	last := ""
	for n := range 100 {
		id, err := exchange.NewID(noon.Add(time.Duration(n)*time.Millisecond), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if id.String() <= last {
			t.Fatalf("%s comes after %s", id, last)
		}
		last = id.String()
	}
}

func TestNewIDNeedsRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	if _, err := exchange.NewID(noon, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestZeroID(t *testing.T) {
	var id exchange.ID
	text, err := id.MarshalText()
	if err != nil || len(text) != 0 || !id.IsZero() {
		t.Errorf("the zero id is %q: %v", text, err)
	}
	full, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := full.UnmarshalText(nil); err != nil || !full.IsZero() {
		t.Errorf("empty text reads as %s: %v", full, err)
	}
}

// TestParseIDHasOneSpelling refuses every other way to write an id.
func TestParseIDHasOneSpelling(t *testing.T) {
	for _, s := range []string{
		"", "0193", "0193B2C0-7000-7000-8000-000000000000", "0193b2c070007000800000000000000",
		"{0193b2c0-7000-7000-8000-00000000000}", "urn:uuid:0193b2c0-7000-7000-8000-000000000000",
		"0193b2c0-7000-4000-8000-000000000000", "0193b2c0-7000-7000-c000-000000000000",
		"0193b2c0-7000-7000-8000-00000000000g", " 193b2c0-7000-7000-8000-000000000000",
		"0193b2c0-7000-7000-8000-000000000000\n", "0193b2c0_7000_7000_8000_000000000000",
	} {
		if id, err := exchange.ParseID(s); err == nil {
			t.Errorf("%q reads as %s", s, id)
		}
	}
	if _, err := exchange.ParseID("0193b2c0-7000-7000-8000-000000000000"); err != nil {
		t.Error(err)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("0193b2c0-7000-7000-8000-000000000000")
	f.Add("0193B2C0-7000-7000-8000-000000000000")
	f.Add("0193b2c0-7000-4000-8000-000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := exchange.ParseID(s)
		if err != nil {
			if !id.IsZero() {
				t.Errorf("%q fails and gives %s", s, id)
			}
			return
		}
		if id.String() != s {
			t.Errorf("%q reads as %s", s, id)
		}
	})
}
