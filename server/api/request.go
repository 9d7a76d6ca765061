package api

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// exchangeRequest makes an exchange.Request of the message.
func exchangeRequest(ctx context.Context, in *cambiov1.ExchangeRequest) (exchange.Request, error) {
	if err := checkText(in); err != nil {
		return exchange.Request{}, err
	}
	out := requestOf(ctx)
	asked := server.Asked{
		SubjectToken: in.GetSubjectToken(), SubjectTokenType: in.GetSubjectTokenType(),
		ActorToken: in.GetActorToken(), ActorTokenType: in.GetActorTokenType(), PassthroughToken: in.GetPassthroughToken(),
		Audiences: in.GetAudience(), Resources: in.GetResource(), Scope: in.GetScope(),
		RequestedTokenType: in.GetRequestedTokenType(), Lifetime: time.Duration(in.GetRequestedLifetime()) * time.Second,
		PublicKey: in.GetPublicKey(), Reason: in.GetReason(),
	}
	if err := asked.Read(&out); err != nil {
		return exchange.Request{}, err
	}
	return out, nil
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
