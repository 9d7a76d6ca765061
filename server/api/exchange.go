package api

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

type exchangeService struct {
	cambiov1.UnimplementedExchangeServiceServer
	*Server
}

// Exchange is the pipeline's, typed.
func (s exchangeService) Exchange(ctx context.Context, in *cambiov1.ExchangeRequest) (*cambiov1.ExchangeResponse, error) {
	request, err := s.exchangeRequest(ctx, in)
	if err != nil {
		s.o.Refused(exchange.KindOf(err))
		return nil, err
	}
	receipt, err := s.o.Exchanger.Exchange(ctx, request)
	if err != nil {
		return nil, err
	}
	server.FactsOf(ctx).SetExchange(receipt.Exchange)
	c := receipt.Credential
	out := &cambiov1.ExchangeResponse{
		AccessToken:     c.Value.Reveal(),
		IssuedTokenType: string(c.IssuedType),
		TokenType:       c.TokenType,
		ExpiresIn:       secondsLeft(c.Expires, s.o.Now()),
		Scope:           strings.Join(c.Scopes, " "),
		ExchangeId:      receipt.Exchange.String(),
	}
	if !c.Lease.IsZero() {
		out.LeaseId = c.Lease.String()
	}
	return out, nil
}

// secondsLeft rounds down: a caller may be early, never late.
func secondsLeft(expires, now time.Time) int32 {
	left := int64(expires.Sub(now) / time.Second)
	return int32(min(max(left, 0), math.MaxInt32))
}
