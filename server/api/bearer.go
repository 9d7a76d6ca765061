package api

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

type subjectKey struct{}

// subjectOf is who calls: set for every method that takes a bearer token.
func subjectOf(ctx context.Context) exchange.Subject {
	s, _ := ctx.Value(subjectKey{}).(exchange.Subject)
	return s
}

// authenticate proves the caller by the one bearer token it sent (RFC 6750 §2.1).
func (s *Server) authenticate(ctx context.Context, c *caller) (exchange.Subject, error) {
	switch len(c.authorization) {
	case 1:
	case 0:
		return exchange.Subject{}, errNoBearer
	default:
		return exchange.Subject{}, exchange.Fault(exchange.KindUnauthenticated, "Authorization came more than once: send one", nil)
	}
	scheme, token, _ := strings.Cut(c.authorization[0], " ")
	if !strings.EqualFold(scheme, "bearer") || !isBearer(token) {
		return exchange.Subject{}, exchange.Fault(exchange.KindUnauthenticated, "Authorization is not Bearer, one space, and a token", nil)
	}
	subject, err := s.o.Verifier.Verify(ctx, exchange.Token{Value: exchange.NewSecret(token), Type: exchange.TokenTypeJWT}, s.o.Now())
	if err != nil {
		var known *exchange.Error
		if errors.As(err, &known) && known.Kind == exchange.KindInvalidSubject {
			return exchange.Subject{}, exchange.Fault(exchange.KindUnauthenticated, known.Advice, err)
		}
		return exchange.Subject{}, err
	}
	if subject.Clientless != exchange.ClientlessYes {
		// A service that a person's token was sent to could send it on to here (S16).
		return exchange.Subject{}, exchange.Fault(exchange.KindUnauthenticated, "this token was not issued for use here by itself: get one for Cambio alone, by a client that its trust names", nil)
	}
	if subject.Once != nil {
		// It would have to be burnt, and a query is no exchange.
		return exchange.Subject{}, exchange.Fault(exchange.KindUnauthenticated, "a single-use token buys one exchange and opens nothing else", nil)
	}
	return subject, nil
}

var errNoBearer = exchange.Fault(exchange.KindUnauthenticated, "this needs Authorization: Bearer and a token of a trusted issuer", nil)

// isBearer holds the syntax of RFC 6750 §2.1 (b64token).
func isBearer(token string) bool {
	body := strings.TrimRight(token, "=")
	for i := range len(body) {
		c := body[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/", c) >= 0) {
			return false
		}
	}
	return body != ""
}

// authorize asks policy. A delegated token speaks for two, and roles are for one.
func (s *Server) authorize(subject exchange.Subject, roles []string) error {
	if err := undelegated(subject); err != nil || s.holds(subject, roles) {
		return err
	}
	return exchange.Fault(exchange.KindPermissionDenied, "this needs the role "+strings.Join(roles, " or "), nil)
}

// undelegated refuses a token by which somebody else acts.
func undelegated(subject exchange.Subject) error {
	if len(subject.Asserted) > 0 {
		return exchange.Fault(exchange.KindPermissionDenied, "a delegated token has no role here: send your own", nil)
	}
	return nil
}

// holds reports whether policy gives the subject one of the roles.
func (s *Server) holds(subject exchange.Subject, roles []string) bool {
	return slices.ContainsFunc(s.o.Roles(subject), func(role string) bool { return slices.Contains(roles, role) })
}
