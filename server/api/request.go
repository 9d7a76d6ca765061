package api

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// exchangeRequest makes an exchange.Request of the message, in the order of the
// token endpoint: what can be read, the client, what is asked for.
func (s *Server) exchangeRequest(ctx context.Context, in *cambiov1.ExchangeRequest) (exchange.Request, error) {
	if err := checkText(in); err != nil {
		return exchange.Request{}, err
	}
	proven, err := s.client(ctx, in)
	if err != nil {
		return exchange.Request{}, err
	}
	out := requestOf(ctx)
	asked := server.Asked{
		SubjectToken: in.GetSubjectToken(), SubjectTokenType: in.GetSubjectTokenType(),
		ActorToken: in.GetActorToken(), ActorTokenType: in.GetActorTokenType(), PassthroughToken: in.GetPassthroughToken(),
		Audiences: in.GetAudience(), Resources: in.GetResource(), Scope: in.GetScope(),
		RequestedTokenType: in.GetRequestedTokenType(), Lifetime: time.Duration(in.GetRequestedLifetime()) * time.Second,
		PublicKey: in.GetPublicKey(), Reason: in.GetReason(),
		Rejected: in.GetRejectedSha256(),
	}
	if err := asked.Read(&out); err != nil {
		return exchange.Request{}, err
	}
	if err := server.UseClient(&proven, &out); err != nil {
		return exchange.Request{}, err
	}
	return out, nil
}

// client proves the registered client that a call presents; zero: it presents none.
func (s *Server) client(ctx context.Context, in *cambiov1.ExchangeRequest) (client.Proven, error) {
	presented := server.Presented{
		Authorization: callerOf(ctx).authorization, ID: in.GetClientId(), Secret: in.GetClientSecret(),
		Assertion: in.GetClientAssertion(), AssertionType: in.GetClientAssertionType(),
	}
	if !presented.Any() {
		return client.Proven{}, nil
	}
	for _, header := range presented.Authorization {
		if scheme, _, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "bearer") {
			return client.Proven{}, exchange.Fault(exchange.KindInvalidClient,
				"this method takes no bearer token: the tokens go into the request, and Authorization is Basic of a registered client or left out", nil)
		}
	}
	return presented.Prove(ctx, s.o.Clients, s.o.Now())
}

// checkText refuses control characters in any text. (That it is UTF-8, protobuf and
// protojson have seen to.)
func checkText(in *cambiov1.ExchangeRequest) error {
	var err error
	in.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() != protoreflect.StringKind {
			return true
		}
		bad := false
		if field.IsList() {
			list := value.List()
			for i := range list.Len() {
				bad = bad || hasControl(list.Get(i).String())
			}
		} else {
			bad = hasControl(value.String())
		}
		if bad {
			err = server.Invalid(string(field.Name()) + " holds a control character: send one line of text")
		}
		return !bad
	})
	return err
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
