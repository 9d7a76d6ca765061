package awssandbox

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
)

// event is one of a stream's.
type event struct {
	kind    string
	payload any
}

// encode is the event as a message of application/vnd.amazon.eventstream: two lengths
// and their checksum, headers, the payload, and the checksum of all of it (Amazon S3
// API Reference, "Response elements of SelectObjectContent", has the layout).
func (e event) encode() []byte {
	payload, _ := json.Marshal(e.payload)
	var headers []byte
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", e.kind}, {":content-type", "application/json"}} {
		headers = append(headers, byte(len(h[0])))
		headers = append(headers, h[0]...)
		headers = append(headers, 7) // a text
		headers = binary.BigEndian.AppendUint16(headers, uint16(len(h[1])))
		headers = append(headers, h[1]...)
	}
	const frame = 16 // lengths and checksums
	b := binary.BigEndian.AppendUint32(nil, uint32(frame+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}
