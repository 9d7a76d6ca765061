package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// method says who may call a method, and how long it may take.
type method struct {
	limit  time.Duration // zero: as long as an exchange takes
	tail   bool          // it lasts
	client bool          // a registered client may authenticate, in the handler
	roles  []string      // any of them, proven by a bearer token; nil: the method takes no bearer
	owners bool          // whoever a bearer token proves; the handler looks at what is theirs
}

// readers may read the ledger.
var readers = []string{"auditor", "operator"}

// stoppers may stop things.
var stoppers = []string{"operator"}

// methods lists every method there is; one that is missing here is refused.
var methods = map[string]method{
	cambiov1.ExchangeService_Exchange_FullMethodName:                        {client: true},
	cambiov1.AuditService_ListExchanges_FullMethodName:                      {limit: 15 * time.Second, roles: readers},
	cambiov1.AuditService_GetExchange_FullMethodName:                        {limit: 15 * time.Second, roles: readers},
	cambiov1.AuditService_SummarizeExchanges_FullMethodName:                 {limit: 15 * time.Second, roles: readers},
	cambiov1.AuditService_FindCredential_FullMethodName:                     {limit: 15 * time.Second, roles: readers},
	cambiov1.AuditService_ListEvents_FullMethodName:                         {limit: 15 * time.Second, roles: readers},
	cambiov1.AuditService_TailExchanges_FullMethodName:                      {tail: true, roles: readers},
	cambiov1.DenyService_AddDeny_FullMethodName:                             {limit: 20 * time.Second, roles: stoppers},
	cambiov1.DenyService_ListDenies_FullMethodName:                          {limit: 15 * time.Second, roles: readers},
	cambiov1.DenyService_RemoveDeny_FullMethodName:                          {limit: 15 * time.Second, roles: stoppers},
	cambiov1.SigningService_Sign_FullMethodName:                             {limit: 10 * time.Second, owners: true},
	cambiov1.LeaseService_ListLeases_FullMethodName:                         {limit: 15 * time.Second, owners: true},
	cambiov1.LeaseService_GetLease_FullMethodName:                           {limit: 15 * time.Second, owners: true},
	cambiov1.LeaseService_RenewLease_FullMethodName:                         {limit: 20 * time.Second, owners: true},
	cambiov1.LeaseService_RevokeLease_FullMethodName:                        {limit: 20 * time.Second, owners: true},
	grpc_reflection_v1.ServerReflection_ServerReflectionInfo_FullMethodName: {},
}

// unary is around every call: the caller's context, the deadline, the way in, and
// on the way out one form for every failure.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
	ctx = s.recall(ctx)
	defer func() {
		if panicked := recover(); panicked != nil {
			reply, err = nil, s.panicked(ctx, panicked)
		}
		if err != nil {
			err = s.refuse(ctx, info.FullMethod, err)
		}
	}()
	inner, cancel, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return handle(inner, req)
}

// stream is around every stream: tails, and reflection, whose errors are gRPC's
// own.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx := s.recall(ss.Context())
	inner, cancel, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return s.refuse(ctx, info.FullMethod, err)
	}
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = s.refuse(ctx, info.FullMethod, s.panicked(ctx, panicked))
		} else if err != nil && methods[info.FullMethod].tail {
			err = s.refuse(ctx, info.FullMethod, err)
		}
	}()
	return handle(srv, &admitted{ServerStream: ss, ctx: inner})
}

// admitted is a stream with the context of its admission.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is the admitted one.
func (a *admitted) Context() context.Context { return a.ctx }

// admit bounds a call, and checks its credential: every method either takes a
// bearer token and gets a good one, or takes none and gets none (S17). What a client
// presents is in part in the message, so the handler looks at it.
func (s *Server) admit(ctx context.Context, name string) (context.Context, context.CancelFunc, error) {
	c := callerOf(ctx)
	m, known := methods[name]
	if c == nil || !known {
		return nil, nil, exchange.Fault(exchange.KindPermissionDenied, "this method cannot be called this way", nil)
	}
	switch {
	case m.tail:
		m.limit = tailLimit
	case m.limit == 0:
		m.limit = server.ExchangeTime(s.o.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	if m.roles == nil && !m.owners {
		if len(c.authorization) > 0 && !m.client {
			cancel()
			return nil, nil, exchange.Fault(exchange.KindInvalidClient, "this method takes no Authorization: leave it out", nil)
		}
		return ctx, cancel, nil
	}
	subject, err := s.authenticate(ctx, c)
	switch {
	case err != nil:
	case m.owners:
		err = undelegated(subject)
	default:
		err = s.authorize(subject, m.roles)
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return context.WithValue(ctx, subjectKey{}, subject), cancel, nil
}

// panicked logs where, and not with what, since that may hold anything.
func (s *Server) panicked(ctx context.Context, value any) error {
	s.o.Logger.ErrorContext(ctx, "a call panicked", "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
	return exchange.Fault(exchange.KindInternal, "", errors.New("a call panicked"))
}

// refuse logs a failure and gives it the form that leaves the house.
func (s *Server) refuse(ctx context.Context, name string, err error) error {
	f := failureOf(err)
	server.FactsOf(ctx).SetExchange(f.exchange)
	level := server.RowOf(f.kind).Level
	if s.o.Logger.Enabled(ctx, level) {
		s.o.Logger.LogAttrs(ctx, level, "call failed",
			slog.String("method", name), slog.String("kind", f.kind.String()), slog.String("err", err.Error()))
	}
	return f.status().Err()
}
