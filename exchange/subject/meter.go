package subject

// Meter counts what the verifier does. Its methods must not block and may be
// called concurrently.
type Meter interface {
	// Fetched is told of each attempt to read a trust's keys.
	Fetched(tenant, trust string, err error)
	// Looked is told of each look into the verified-token cache.
	Looked(hit bool)
	// Reviewed is told of each TokenReview: Authenticated, Refused, Failed, or
	// Remembered for one answered from memory.
	Reviewed(tenant, trust string, result ReviewResult)
	// Shared is told that two trusts of one issuer hold one key, so that neither
	// is used (S6).
	Shared(tenant, trust, other string)
}

// ReviewResult is what became of one TokenReview.
type ReviewResult string

// The results of a TokenReview.
const (
	Authenticated ReviewResult = "authenticated"
	Refused       ReviewResult = "refused"
	Failed        ReviewResult = "failed"
	Remembered    ReviewResult = "remembered"
)

// silent is the Meter of whoever counts nothing.
type silent struct{}

func (silent) Fetched(string, string, error)         {}
func (silent) Looked(bool)                           {}
func (silent) Reviewed(string, string, ReviewResult) {}
func (silent) Shared(string, string, string)         {}
