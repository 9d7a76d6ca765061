package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// caller is what only the outside of a request knows. It is made of the HTTP
// request and travels in contexts, where nothing that a caller sends can reach it.
type caller struct {
	door          string   // grpc or rest
	authorization []string // the Authorization headers as they came
	userAgent     string
	started       time.Time
}

type callerKey struct{}

// callerOf is nil where a call came by no face of ours.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// maxUserAgent bounds what is kept of a User-Agent, in bytes.
const maxUserAgent = 512

// arrive makes the context of a request at a face: its caller, and its facts where
// the listener has not set them.
func (s *Server) arrive(r *http.Request, door string) context.Context {
	ctx := r.Context()
	facts := server.FactsOf(ctx)
	if facts.TraceID == "" {
		traceID, _ := server.ParseTraceparent(r.Header["Traceparent"])
		facts = &server.Facts{TraceID: traceID, ClientIP: server.ClientIP(r, s.o.Trusted), Started: s.o.Now()}
		ctx = server.WithFacts(ctx, facts)
	}
	agent := r.UserAgent()
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return context.WithValue(ctx, callerKey{}, &caller{
		door: door, authorization: r.Header["Authorization"], userAgent: agent, started: facts.Started,
	})
}

// GRPC is the gRPC face, for HTTP/2 requests of content type application/grpc. A
// whole call is bounded, the reading of its message among it, where no
// interceptor's deadline does yet: a caller may open a stream and send nothing.
func (s *Server) GRPC() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := s.whole()
		if r.URL.Path == cambiov1.AuditService_TailExchanges_FullMethodName {
			w, limit = patient{w, s.o.TailPatience}, tailLimit+writeTimeout
			// Its one message, too, has its time.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
		}
		ctx, cancel := context.WithTimeout(s.arrive(r, "grpc"), limit)
		defer cancel()
		s.grpc.ServeHTTP(w, r.WithContext(ctx))
	})
}

// callKey is the metadata by which an in-process call names its context.
const callKey = "cambio-call"

// carry is the gateway's end of the in-process way: whatever metadata grpc-gateway
// made of the HTTP request is left behind, and the context waits under a number.
func (s *Server) carry(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	serial := s.serial.Add(1)
	s.calls.Store(serial, ctx)
	defer s.calls.Delete(serial)
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(callKey, strconv.FormatUint(serial, 10)))
	return invoke(ctx, method, req, reply, cc, opts...)
}

// carryStream is carry for streams: the context waits until the stream ends.
func (s *Server) carryStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	serial := s.serial.Add(1)
	s.calls.Store(serial, ctx)
	context.AfterFunc(ctx, func() { s.calls.Delete(serial) }) // net/http ends it with the request
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(callKey, strconv.FormatUint(serial, 10)))
	return stream(ctx, desc, cc, method, opts...)
}

// recall is the other end: it puts the values of the waiting context behind those
// of the call. Numbers count only on calls that came by memory; on the gRPC face
// the caller is in the context already, and the metadata is not looked at.
func (s *Server) recall(ctx context.Context) context.Context {
	if callerOf(ctx) != nil {
		return ctx
	}
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr.Network() != "bufconn" {
		return ctx
	}
	md, _ := metadata.FromIncomingContext(ctx)
	numbers := md.Get(callKey)
	if len(numbers) != 1 {
		return ctx
	}
	serial, err := strconv.ParseUint(numbers[0], 10, 64)
	if err != nil {
		return ctx
	}
	if waiting, ok := s.calls.Load(serial); ok {
		return &recalled{Context: ctx, values: waiting.(context.Context)}
	}
	return ctx
}

// recalled has the deadline and the end of one context, and the values of both.
type recalled struct {
	context.Context
	values context.Context
}

// Value looks here, then there: trace, facts and caller are there only.
func (c *recalled) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}

// requestOf starts an exchange.Request with the facts of the call.
func requestOf(ctx context.Context) exchange.Request {
	c, facts := callerOf(ctx), server.FactsOf(ctx)
	return exchange.Request{
		Door: c.door, Grant: server.GrantTokenExchange, ClientIP: facts.ClientIP,
		UserAgent: c.userAgent, TraceID: facts.TraceID, RequestStarted: c.started,
	}
}
