package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// Signer signs in sessions; *signing.Desk is one.
type Signer interface {
	Sign(ctx context.Context, a signing.Ask) (signing.Signature, error)
}

type signingService struct {
	cambiov1.UnimplementedSigningServiceServer
	*Server
}

// Sign signs one request.
func (s signingService) Sign(ctx context.Context, in *cambiov1.SignRequest) (*cambiov1.SignResponse, error) {
	if s.o.Signer == nil {
		return nil, exchange.Fault(exchange.KindNotFound, "no signing sessions are held here", nil)
	}
	id, err := exchange.ParseID(in.GetSession())
	switch {
	case err != nil:
		return nil, server.Invalid("session: " + err.Error())
	case in.GetToken() == "":
		return nil, server.Invalid("token is missing: it came with the session")
	}
	caller := subjectOf(ctx)
	signature, err := s.o.Signer.Sign(ctx, signing.Ask{
		Session: id, Token: exchange.NewSecret(in.GetToken()), Caller: caller, By: s.deed(ctx, caller).Record, ClientIP: server.FactsOf(ctx).ClientIP,
		Request: exchange.SignRequest{
			Method: in.GetMethod(), Host: in.GetHost(), Path: in.GetPath(), Query: in.GetQuery(), Headers: in.GetHeaders(),
			BodySHA256: in.GetBodySha256(), BodyLength: in.GetBodyLength(),
		},
	})
	if err != nil {
		return nil, err
	}
	return &cambiov1.SignResponse{Headers: signature.Headers, ExpireTime: timestamppb.New(signature.Expires), RenewTime: timestamppb.New(signature.Renew)}, nil
}
