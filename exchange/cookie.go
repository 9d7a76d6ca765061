package exchange

import (
	"context"
	"strings"
	"time"
)

// sessionType begins the token types of sessions: the rest is the name of the trust.
const sessionType = "urn:cambio:token-type:session:"

// SessionTokenType is the token type of the sessions of a trust. Nothing in a cookie
// could tell whose it is, so its label does (S6, S37).
func SessionTokenType(trust string) TokenType { return TokenType(sessionType + trust) }

// Session is the trust that the token type of a session names; false: it is not a
// session's.
func (t TokenType) Session() (trust string, ok bool) {
	return strings.CutPrefix(string(t), sessionType)
}

// SessionTrust is what a trust of kind session says besides: which cookies of an
// application are taken and from whom, and how the application is asked whether one
// stands (S37).
type SessionTrust struct {
	Cookies []string // names; a cookie of another name is not read
	// Presenters are attributes and their patterns, of actors and registered clients:
	// one of them must match. Policy matches them.
	Presenters []map[string][]string
	Introspect *Introspection // nil: the cookie's own signature is all there is
}

// Introspection is how an application is asked about a session. With POST it gets a
// form in the manner of RFC 7662 §2.1, with GET the cookie as a browser would send it.
type Introspection struct {
	URL    string
	Method string // POST or GET
	CAFile string // PEM roots; empty: the system's

	ClientID     string // ours at the application, by HTTP Basic; POST only; empty: none
	ClientSecret string // ${secret:NAME}

	// JSON paths (RFC 9535) into the answer. An empty Active means that a status of
	// 200 says it; Expires may find nothing.
	Active, Subject, Expires string

	Cache     time.Duration // how long an answer is good; zero: each exchange asks
	Lifetime  time.Duration // of a session that does not say when it ends, from the answer on
	PerSecond int           // questions, whoever causes them
}

// Presenters is a Decider that knows who may present sessions. Under one that does
// not, nobody may.
type Presenters interface {
	// Presents reports whether somebody who is proven in this request is on the list
	// of a session trust.
	Presents(trust string, who Actor) bool
}

// adviceSession is one answer for everything that policy may have against a session
// before it is looked at.
const adviceSession = "this session cannot be exchanged here by this workload or client: its token type must name a session trust, and who presents it must be on that trust's list"

// verifySession proves a session of an application (S37). Who presents it is proven
// first: to others we do not even say whether the session stands, and they cause no
// question.
func (x *run) verifySession(ctx context.Context, trust string) (Subject, error) {
	r := &x.request
	if r.Grant != "" && r.Grant != GrantTokenExchange {
		return Subject{}, Fault(KindInvalidSubject, "a session is taken as the subject token of "+GrantTokenExchange+" only", nil)
	}
	by := r.Presenter
	switch {
	case !r.ActorToken.IsZero(): // then it is the actor who presents, whoever brings the two
		var err error
		if by, err = x.proveActor(ctx); err != nil {
			return Subject{}, err
		}
	case r.Client == "" || by == nil:
		return Subject{}, Fault(KindInvalidClient, "a session is presented by a workload: send its own token as actor_token, or authenticate as a client", nil)
	}
	if presenters, ok := x.decider.(Presenters); !ok || !presenters.Presents(trust, actorOf(by)) {
		return Subject{}, Fault(KindInvalidSubject, adviceSession, nil)
	}
	return x.Verifier.Verify(ctx, r.SubjectToken, x.started)
}

// presentedSession reports that the subject token is a session that a client brought
// by itself: it is then the actor.
func (x *run) presentedSession() bool {
	_, session := x.request.SubjectToken.Type.Session()
	return session && x.request.ActorToken.IsZero() && x.request.Presenter != nil
}

// minRedacted is the least length, in bytes, of a cookie's value that is looked for in
// texts: a shorter one is no secret, and every word would have a part of it.
const minRedacted = 8

// cookieValue is the value of the session's cookie, apart from the name: another's
// error could quote that alone.
func (x *run) cookieValue() Secret {
	if _, session := x.request.SubjectToken.Type.Session(); session {
		if _, value, _ := strings.Cut(x.request.SubjectToken.Value.Reveal(), "="); len(value) >= minRedacted {
			return NewSecret(value)
		}
	}
	return Secret{}
}
