package awssandbox

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxSessions bounds what the stand-in remembers; the oldest are forgotten.
const maxSessions = 100_000

// identity is who a signed call is by: a user, or the session of a role.
type identity struct {
	arn, userID string
	secret      string
	role        *role // nil: a user

	token    string
	expires  time.Time
	session  Session
	policies []*policy // session policies; nil: none, so that the role's holds alone
}

// Session is what CloudTrail would show of a session.
type Session struct {
	ARN            string // of the assumed role, ending in the session's name
	Name           string
	Role           string // ARN
	Subject        string // `sub` of the assertion; empty: a signed call assumed it
	SourceIdentity string
	Tags           map[string]string
	TransitiveTags []string
	ExternalID     string
	Expires        time.Time
}

// Session tells of the session with that access key id.
func (s *Server) Session(accessKeyID string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.sessions[accessKeyID]
	if !ok {
		return Session{}, false
	}
	out := i.session
	out.Tags, out.TransitiveTags = maps.Clone(out.Tags), slices.Clone(out.TransitiveTags)
	return out, true
}

// lookup finds who has an access key.
func (s *Server) lookup(accessKeyID string) *identity {
	if user, ok := s.keys[accessKeyID]; ok {
		return user
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[accessKeyID]
}

// open begins a session and returns its access key id.
func (s *Server) open(r *role, a asked, of Session, policies []*policy) (string, *identity, error) {
	id, err := s.name("ASIA")
	if err != nil {
		return "", nil, err
	}
	secret, err := s.text(25)
	if err != nil {
		return "", nil, err
	}
	token, err := s.text(160)
	if err != nil {
		return "", nil, err
	}
	of.Role, of.Name = r.arn, a.name
	of.ARN = fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", s.account, r.name, a.name)
	of.Expires = s.now().Add(a.duration).UTC().Truncate(time.Second)
	i := &identity{
		arn: of.ARN, userID: r.id + ":" + a.name, secret: secret, role: r, token: token, expires: of.Expires, session: of, policies: policies,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) >= maxSessions {
		delete(s.sessions, s.order[0])
		s.order = s.order[1:]
	}
	s.sessions[id] = i
	s.order = append(s.order, id)
	return id, i, nil
}

// may reports whether an identity may do something: its role allows it, a session
// policy too where there are any, and nothing denies it.
func (i *identity) may(action, resource string, facts facts) bool {
	if i.role == nil || i.role.allows.decide(action, resource, nil, facts) != allow {
		return false
	}
	if i.policies == nil {
		return true
	}
	allowed := false
	for _, p := range i.policies {
		switch p.decide(action, resource, nil, facts) {
		case deny:
			return false
		case allow:
			allowed = true
		}
	}
	return allowed
}
