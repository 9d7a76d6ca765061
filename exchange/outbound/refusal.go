package outbound

// refusal is the error of a request that was not let out, and would not be if it were
// made again: somebody has to change what it names.
type refusal struct {
	kind error  // ErrHost, ErrAddress or ErrPlaintext
	what string // what is refused, and what would allow it
}

func (r *refusal) Error() string { return r.kind.Error() + ": " + r.what }

func (r *refusal) Unwrap() error { return r.kind }

// NotSent is true: nobody was asked.
func (*refusal) NotSent() bool { return true }

// RetryableError is false, by which SDKs know that asking again is in vain.
func (*refusal) RetryableError() bool { return false }
