package ledger

import (
	"crypto/sha256"
	"encoding/binary"
)

// Facts are hashes of the members by which lists find an outcome, each as its record
// has it; zero: it has none. They only find: a list compares the member itself, too.
// SQLite, which reads them out of the record itself, does not look at them.
type Facts struct {
	Subject, Actor, Target, ClientIP, Credential, Handle int64
}

// Each gives them in the order of their declaration.
func (f Facts) Each() [6]int64 {
	return [...]int64{f.Subject, f.Actor, f.Target, f.ClientIP, f.Credential, f.Handle}
}

// FactOf is the hash of a member with that text.
func FactOf(text string) int64 { return factOf(appendText(nil, text, wide.text)) }

// factOf takes a text as a record has it, so that what is found is what was written. A
// part of a SHA-256 and no quick hash: nobody can make many values of one hash, and
// with them a list that looks at all of these.
func factOf(written []byte) int64 {
	sum := sha256.Sum256(written)
	if fact := int64(binary.BigEndian.Uint64(sum[:])); fact != 0 {
		return fact
	}
	return 1
}
