package postgres

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// What array writes, the library reads back as the same.
func TestArraysAreReadBack(t *testing.T) {
	m := pgtype.NewMap()
	read := func(t *rapid.T, a *array, into any) {
		t.Helper()
		if err := m.Scan(arrayOID[a.oid], pgtype.BinaryFormatCode, a.encode(nil), into); err != nil {
			t.Fatalf("an array of type %d with %d elements: %v", a.oid, a.n, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOf(rapid.Ptr(rapid.String(), true)).Draw(t, "texts")
		numbers := rapid.SliceOf(rapid.Int64()).Draw(t, "numbers")
		text, number := &array{oid: pgtype.TextOID}, &array{oid: pgtype.Int8OID}
		small, moment, id := &array{oid: pgtype.Int2OID}, &array{oid: pgtype.TimestamptzOID}, &array{oid: pgtype.UUIDOID}
		bytes := &array{oid: pgtype.ByteaOID}
		for _, s := range texts {
			if s == nil {
				text.null()
				bytes.bytes(nil)
				continue
			}
			text.text(*s)
			bytes.bytes([]byte(*s))
		}
		var ids []exchange.ID
		for _, n := range numbers {
			number.int8(n)
			small.int2(int16(n))
			moment.time(n % (1 << 52))
			ids = append(ids, exchange.ID{byte(n), 15: byte(n >> 8)})
			id.id(ids[len(ids)-1])
		}
		var gotTexts []*string
		var gotBytes [][]byte
		var gotNumbers []int64
		var gotSmall []int16
		var gotMoments []time.Time
		var gotIDs [][16]byte
		read(t, text, &gotTexts)
		read(t, bytes, &gotBytes)
		read(t, number, &gotNumbers)
		read(t, small, &gotSmall)
		read(t, moment, &gotMoments)
		read(t, id, &gotIDs)
		if len(gotTexts) != len(texts) || len(gotNumbers) != len(numbers) || fmt.Sprint(gotNumbers) != fmt.Sprint(numbers) && len(numbers) > 0 {
			t.Fatalf("got %v and %v", gotTexts, gotNumbers)
		}
		for i, s := range texts {
			if (s == nil) != (gotTexts[i] == nil) || (s == nil) != (gotBytes[i] == nil) {
				t.Fatalf("element %d: a null became something, or something null", i)
			}
			if s != nil && (*s != *gotTexts[i] || *s != string(gotBytes[i])) {
				t.Fatalf("element %d: %q became %q", i, *s, *gotTexts[i])
			}
		}
		for i, n := range numbers {
			if gotSmall[i] != int16(n) || gotMoments[i].UnixMicro() != n%(1<<52) || gotIDs[i] != ids[i] {
				t.Fatalf("element %d: %d became %d, %v, %v", i, n, gotSmall[i], gotMoments[i], gotIDs[i])
			}
		}
	})
}

// Columns of which most rows have nothing are filled up to the row that has.
func TestFillReachesTheRow(t *testing.T) {
	a := &array{oid: pgtype.TextOID}
	a.fill(2)
	a.text("third")
	var got []*string
	if err := pgtype.NewMap().Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, a.encode(nil), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != nil || got[1] != nil || *got[2] != "third" {
		t.Errorf("got %v", got)
	}
}
