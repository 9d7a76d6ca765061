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

// grantTokenExchange is the grant type of RFC 8693 §2.1: this door speaks no
// other, and records it as the token endpoint does.
const grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

type exchangeService struct {
	cambiov1.UnimplementedExchangeServiceServer
	*Server
}

// Exchange is the pipeline's, typed.
func (s exchangeService) Exchange(ctx context.Context, in *cambiov1.ExchangeRequest) (*cambiov1.ExchangeResponse, error) {
	request, err := exchangeRequest(ctx, in)
	if err != nil {
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

// The bounds of single members, in bytes unless said otherwise, as at the token
// endpoint. The whole request has a bound of its own.
const (
	maxTargets   = 8 // audiences, and resources
	maxAudience  = 256
	maxResource  = 2048
	maxScopes    = 64 // tokens
	maxScope     = 256
	maxTokenType = 256
	maxPublicKey = 3072
	maxReason    = 512
	maxLifetime  = 366 * 24 * time.Hour
)

func invalid(advice string) error { return exchange.Fault(exchange.KindInvalidRequest, advice, nil) }

// exchangeRequest checks syntax and looks nothing up.
func exchangeRequest(ctx context.Context, in *cambiov1.ExchangeRequest) (exchange.Request, error) {
	out := requestOf(ctx)
	for _, step := range [...]func(*cambiov1.ExchangeRequest, *exchange.Request) error{
		readText, readTokens, readTargets, readScopes, readRest,
	} {
		if err := step(in, &out); err != nil {
			return exchange.Request{}, err
		}
	}
	return out, nil
}
