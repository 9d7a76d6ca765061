package exchange

import "fmt"

// checkAssertion holds an identity assertion grant to what it was made for: it
// speaks for the subject through one client, and where it names a resource, there
// and nowhere else (S12). A target that is named beside the resource must be the
// same one, as always.
func (x *run) checkAssertion() error {
	a, r := x.subject.Assertion, &x.request
	switch {
	case a == nil:
		return nil
	case r.Client == "":
		return Fault(KindInvalidClient, "an identity assertion grant is redeemed by the client that it names: authenticate as that client", nil)
	case a.ClientID != r.Client:
		return Fault(KindInvalidSubject, "the identity assertion grant was made for another client", fmt.Errorf("for %q, not %q", a.ClientID, r.Client))
	case a.Resource != "" && (len(r.Resources) != 1 || r.Resources[0] != a.Resource):
		return Fault(KindInvalidTarget, "the identity assertion grant is for another resource than the one asked for", nil)
	}
	return nil
}
