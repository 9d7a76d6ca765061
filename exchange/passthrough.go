package exchange

import "context"

// verifyPassthrough proves the token that the request brings for the provider: it
// must be of the very subject, or the caller could have somebody else's presented
// from here (S8).
func (x *run) verifyPassthrough(ctx context.Context) error {
	if x.request.PassthroughToken.IsZero() {
		return nil
	}
	if x.Passthrough == nil || x.request.Self != nil || x.subject.Own != nil {
		return Fault(KindInvalidRequest, "passthrough_token is taken only beside the subject's own token: leave it out", nil)
	}
	return x.Passthrough.VerifyPassthrough(ctx, x.request.PassthroughToken, x.subject, x.started)
}
