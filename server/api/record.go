package api

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// recordOf makes the message of a stored event. Keys come from the row, the rest
// from its record. A row of another tenant ends the request: the engine has
// failed us, and nothing of it may leave (S22).
func recordOf(row ledger.Exchange, tenant string) (*cambiov1.Exchange, error) {
	if row.Tenant != tenant {
		return nil, errors.New("the ledger answered with another tenant's event")
	}
	r, err := ledger.DecodeRecord(row.Record)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", row.ID, err)
	}
	out := &cambiov1.Exchange{
		Exchange: row.Exchange.String(), Time: timestamppb.New(time.UnixMicro(row.At)), Tenant: row.Tenant,
		Subject: r.Subject, Trust: r.Trust, Actor: r.Actor, Actors: r.Actors, Asserted: r.Asserted, Client: r.Client,
		Target: r.Target, Provider: r.Provider,
		Outcome: r.Outcome, ErrorKind: r.ErrorKind, Explanation: r.Explanation,
		Rule: r.Rule, Revision: r.Revision, Epoch: r.Epoch, Reason: r.Reason,
		Door: r.Door, GrantType: r.GrantType, TokenType: r.TokenType,
		AskedTargets: r.AskedTargets, AskedScopes: r.AskedScopes, Scopes: r.Scopes,
		AskedLifetime: seconds(r.AskedLifetime), Lifetime: seconds(r.Lifetime), Excess: seconds(r.Excess),
		Credential: r.Credential, Handle: r.Handle, Lease: r.Lease, Lineage: r.Lineage, Reused: r.Reused,
		ClientIp: r.ClientIP, UserAgent: r.UserAgent, TraceId: r.TraceID, TokenId: r.TokenID, KeyId: r.KeyID,
		Claims: claimsOf(r.Claims), Durations: durationsOf(r.Durations),
	}
	if r.Expires != "" {
		expires, err := time.Parse(time.RFC3339Nano, r.Expires)
		if err != nil {
			return nil, fmt.Errorf("event %s: its expiry: %w", row.ID, err)
		}
		out.ExpireTime = timestamppb.New(expires)
	}
	return out, nil
}

func seconds(n int64) *durationpb.Duration {
	if n == 0 {
		return nil
	}
	return &durationpb.Duration{Seconds: n}
}

func microseconds(n int64) *durationpb.Duration {
	if n == 0 {
		return nil
	}
	return durationpb.New(time.Duration(n) * time.Microsecond)
}

func claimsOf(attributes exchange.Attributes) map[string]*cambiov1.ClaimValues {
	if len(attributes) == 0 {
		return nil
	}
	claims := make(map[string]*cambiov1.ClaimValues, len(attributes))
	for name, values := range attributes {
		claims[name] = &cambiov1.ClaimValues{Values: values}
	}
	return claims
}

func durationsOf(d *exchange.Durations) *cambiov1.StepDurations {
	if d == nil {
		return nil
	}
	return &cambiov1.StepDurations{
		Verify: microseconds(d.Verify), Decide: microseconds(d.Decide),
		Intend: microseconds(d.Intend), Vend: microseconds(d.Vend),
	}
}
