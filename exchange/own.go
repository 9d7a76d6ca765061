package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// SelfTrust names the built-in trust, by which access tokens of ours come back
// (S7). No trust of a policy may have the name. An actor whom it asserts was proven
// here in an earlier exchange.
const SelfTrust = "self"

// Servers is a Decider that knows which client is the server of what. Under one
// that does not, tokens of ours do not come back.
type Servers interface {
	// Serves reports whether a registered client is the server of a resource.
	Serves(client, resource string) bool
}

// adviceOwn is one answer for everything that may be wrong with a token of ours, so
// that a client it is not for learns nothing of it.
const adviceOwn = "this token of ours cannot be exchanged by this client: it must be an access token that has neither expired nor been revoked, " +
	"for a resource that the client is the server of"

// verifyOwn proves a subject token of ours (S7). What is refused for the request's
// shape is refused before the token is looked at.
func (x *run) verifyOwn(ctx context.Context) (Subject, error) {
	r := &x.request
	switch {
	case r.SubjectToken.Type != TokenTypeAccessToken && r.SubjectToken.Type != TokenTypeJWT:
		return Subject{}, Fault(KindInvalidSubject, "a token of ours is an access token: say so in subject_token_type", nil)
	case r.Client == "" || r.Presenter == nil:
		return Subject{}, Fault(KindInvalidClient, "a token of ours is exchanged only by the client that is the server of its audience: authenticate as that client", nil)
	case !r.ActorToken.IsZero():
		return Subject{}, Fault(KindInvalidActor, "leave actor_token out: the client that presents a token of ours is the actor", nil)
	}
	s, err := x.Own.Verify(ctx, r.SubjectToken, x.started)
	switch {
	case err != nil && KindOf(err) == KindInvalidSubject:
		return Subject{}, Fault(KindInvalidSubject, adviceOwn, err)
	case err != nil:
		return Subject{}, err
	case s.Own == nil || len(s.Own.Lineage) == 0:
		return Subject{}, Fault(KindInternal, "", errors.New("a token of ours was verified and does not say what it descends from"))
	}
	s.Bound, s.Bounded = s.Own.Scopes, true
	s.Asserted = slices.Clone(s.Asserted) // the verifier may keep it
	for i := range s.Asserted {
		if a := &s.Asserted[i]; a.Proven || a.AssertedBy == "" {
			a.Proven, a.AssertedBy = false, SelfTrust // it was proven then, and is history now (S15)
		}
	}
	return s, nil
}

// present makes the client that brought a token of ours its outermost actor, where
// it is the server that the token was for.
func (x *run) present() error {
	r := &x.request
	servers, ok := x.decider.(Servers)
	if !ok || r.Presenter.Tenant != x.subject.Tenant || !servers.Serves(r.Client, x.subject.Own.Audience) {
		return Fault(KindInvalidSubject, adviceOwn, fmt.Errorf("client %q is not the server of %q", r.Client, x.subject.Own.Audience))
	}
	x.actors = []Actor{actorOf(r.Presenter)}
	return nil
}

// actorOf is a subject who acts, proven in this request.
func actorOf(s *Subject) Actor {
	return Actor{
		Name: s.Name, Trust: s.Trust, Attributes: s.Attributes, Issuer: s.Issuer, ID: s.ID,
		Proven: true, Expires: s.Expires, TrustHash: s.TrustHash,
	}
}

// origin is what a token of ours cannot say of itself and has to hold when it comes
// back.
func (x *run) origin() Origin {
	s := &x.subject
	return Origin{
		Trust: s.Trust, TrustHash: s.TrustHash, Kind: s.Kind, Issuer: s.Issuer, ID: s.ID,
		Attributes: s.Attributes, Record: s.Record, MayAct: s.MayAct, Actors: x.chain(),
	}
}

// lineage are the leases that must stand until what came of a token of ours is
// written; none for a token of another issuer.
func (x *run) lineage() []ID {
	if x.subject.Own == nil {
		return nil
	}
	return x.subject.Own.Lineage
}
