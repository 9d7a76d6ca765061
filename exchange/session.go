package exchange

import "time"

// Session is a signing session that Cambio holds for a caller (S25). It has the id of
// its lease, and ends with it.
type Session struct {
	ID       ID
	Tenant   string
	Exchange ID // that made it
	Target   string
	Subject  string
	Sealed   []byte // what signs, as one snapshot, sealed under ("session", id)
	Expires  time.Time
}

// SignRequest is an HTTP request that a session is to sign: whatever the signature
// covers, and no body.
type SignRequest struct {
	Method string
	Host   string // as in the Host header
	Path   string // as in the request line, without the query
	Query  string // as in the request line, without the question mark
	// Headers are signed besides, by lower-case name.
	Headers map[string]string
	// BodySHA256 and BodyLength are those of the body; nil: there is none.
	BodySHA256 []byte
	BodyLength int64
}
