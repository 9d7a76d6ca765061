package postgres

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-sts/cambio/exchange"
)

// array is a one-dimensional PostgreSQL array in its binary form, built as its
// elements come (src/backend/utils/adt/arrayfuncs.c, array_recv). An append has
// two dozen of these; by way of slices and reflection they cost the client several
// microseconds a row.
type array struct {
	oid     uint32 // of the element
	n       int32
	hasNull bool
	body    []byte
}

func (a *array) bytes(b []byte) {
	if b == nil {
		a.null()
		return
	}
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(len(b)))
	a.body = append(a.body, b...)
}

func (a *array) text(s string) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(len(s)))
	a.body = append(a.body, s...)
}

func (a *array) id(id exchange.ID) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(len(id)))
	a.body = append(a.body, id[:]...)
}

// ids adds a text that reads as an array of ids.
func (a *array) ids(ids []exchange.ID) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(37*len(ids)+1))
	for i, id := range ids {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		a.body = append(append(a.body, separator), id.String()...)
	}
	a.body = append(a.body, '}')
}

func (a *array) int2(v int16) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, 2)
	a.body = binary.BigEndian.AppendUint16(a.body, uint16(v))
}

func (a *array) int8(v int64) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, 8)
	a.body = binary.BigEndian.AppendUint64(a.body, uint64(v))
}

// epochOffset is 2000-01-01 in Unix microseconds: where the server's clock begins.
const epochOffset = 946_684_800_000_000

// time adds a moment in Unix microseconds.
func (a *array) time(micro int64) { a.int8(micro - epochOffset) }

func (a *array) null() {
	a.n++
	a.hasNull = true
	a.body = append(a.body, 0xff, 0xff, 0xff, 0xff)
}

// fill adds nulls until the array has n elements.
func (a *array) fill(n int) {
	for int(a.n) < n {
		a.null()
	}
}

// Encode writes the array as a parameter.
func (a *array) encode(buf []byte) []byte {
	if a.n == 0 {
		buf = binary.BigEndian.AppendUint32(buf, 0) // dimensions
		buf = binary.BigEndian.AppendUint32(buf, 0)
		return binary.BigEndian.AppendUint32(buf, a.oid)
	}
	var flags uint32
	if a.hasNull {
		flags = 1
	}
	buf = binary.BigEndian.AppendUint32(buf, 1)
	buf = binary.BigEndian.AppendUint32(buf, flags)
	buf = binary.BigEndian.AppendUint32(buf, a.oid)
	buf = binary.BigEndian.AppendUint32(buf, uint32(a.n))
	buf = binary.BigEndian.AppendUint32(buf, 1) // lower bound
	return append(buf, a.body...)
}

// arrayCodec teaches a connection to send an *array where its type is asked for.
type arrayCodec struct{ pgtype.Codec }

func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if a, ok := value.(*array); ok && format == pgtype.BinaryFormatCode && arrayOID[a.oid] == oid {
		return sendArray{}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

type sendArray struct{}

func (sendArray) Encode(value any, buf []byte) ([]byte, error) {
	a, ok := value.(*array)
	if !ok {
		return nil, errors.New("not an array")
	}
	return a.encode(buf), nil
}

// arrayOID maps the types of elements that append sends to their array types.
var arrayOID = map[uint32]uint32{
	pgtype.UUIDOID: pgtype.UUIDArrayOID, pgtype.TextOID: pgtype.TextArrayOID, pgtype.Int2OID: pgtype.Int2ArrayOID,
	pgtype.Int8OID: pgtype.Int8ArrayOID, pgtype.TimestamptzOID: pgtype.TimestamptzArrayOID,
	pgtype.JSONOID: pgtype.JSONArrayOID, pgtype.ByteaOID: pgtype.ByteaArrayOID,
}

// registerTypes teaches a connection to send arrays, and to read moments in UTC.
func registerTypes(conn *pgx.Conn) {
	m := conn.TypeMap()
	m.RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
	for _, oid := range arrayOID {
		if known, ok := m.TypeForOID(oid); ok {
			m.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: arrayCodec{known.Codec}})
		}
	}
}
