package exchange

// The caps on a delegation chain: actors proven in a request together with those
// that the subject token brings along. What is over is refused, never cut (RFC 8693
// §4.1 sets none).
const (
	MaxActors      = 8
	MaxActorsBytes = 2048 // of all names in it
)
