package exchange

import "fmt"

// The caps on a delegation chain: actors proven in a request together with those
// that the subject token brings along. What is over is refused, never cut (RFC 8693
// §4.1 sets none).
const (
	MaxActors      = 8
	MaxActorsBytes = 2048 // of all names in it, with their issuers'
)

// CheckChain returns an *Error of KindInvalidActor, which says the cap, where a
// delegation chain in any number of parts is over one.
func CheckChain(parts ...[]Actor) error {
	actors, size := 0, 0
	for _, part := range parts {
		actors += len(part)
		for i := range part {
			size += len(part[i].Name) + len(part[i].Issuer)
		}
	}
	switch {
	case actors > MaxActors:
		return Fault(KindInvalidActor, fmt.Sprintf("the delegation chain is too deep: %d actors at most, those in the subject token's act among them", MaxActors), nil)
	case size > MaxActorsBytes:
		return Fault(KindInvalidActor, fmt.Sprintf("the delegation chain is too long: %d bytes of names and issuers at most, those in the subject token's act among them", MaxActorsBytes), nil)
	}
	return nil
}

// chain is the whole delegation chain, outermost first: who was proven in this
// request, then those that the subject token brought along.
func (x *run) chain() []Actor {
	return append(append([]Actor(nil), x.actors...), x.subject.Asserted...)
}
