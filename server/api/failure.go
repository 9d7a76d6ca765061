package api

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// failure is what a caller is told, by either face.
type failure struct {
	kind       exchange.Kind
	advice     string
	exchange   exchange.ID
	retryAfter time.Duration
}

// errorDomain is the domain of our google.rpc.ErrorInfo.
const errorDomain = "cambio"

// failureOf reads the outermost exchange.Error; what is none is internal, and its
// text stays inside, save that somebody's time was up.
func failureOf(err error) failure {
	var known *exchange.Error
	switch {
	case errors.As(err, &known):
		return failure{
			kind: known.Kind, advice: server.Advice(known.Kind, known.Advice),
			exchange: known.Exchange, retryAfter: known.RetryAfter,
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failure{kind: exchange.KindUnavailable, advice: "this did not finish in time; try again"}
	}
	return failure{kind: exchange.KindInternal, advice: server.Advice(exchange.KindInternal, "")}
}

// status is the failure for gRPC, and on the way from there to REST.
func (f failure) status() *status.Status {
	row := server.RowOf(f.kind)
	info := &errdetails.ErrorInfo{
		Reason: strings.ToUpper(f.kind.String()), Domain: errorDomain,
		Metadata: map[string]string{"kind": f.kind.String(), "error": row.OAuth},
	}
	if !f.exchange.IsZero() {
		info.Metadata["exchange_id"] = f.exchange.String()
	}
	bare := status.New(row.GRPC, f.advice)
	var full *status.Status
	var err error
	if f.retryAfter > 0 {
		full, err = bare.WithDetails(info, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.retryAfter)})
	} else {
		full, err = bare.WithDetails(info)
	}
	if err != nil { // only a detail that does not encode
		return bare
	}
	return full
}

// kinds finds a kind by its name.
var kinds = func() map[string]exchange.Kind {
	byName := make(map[string]exchange.Kind)
	for _, k := range exchange.Kinds() {
		byName[k.String()] = k
	}
	return byName
}()

// failureOfStatus reads back what status wrote. A status that gRPC or the gateway
// made themselves has no such details; its code tells the kind.
func failureOfStatus(s *status.Status) failure {
	f := failure{kind: kindOfCode(s.Code()), advice: s.Message()}
	known := false
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			kind, ok := kinds[d.GetMetadata()["kind"]]
			if d.GetDomain() == errorDomain && ok {
				f.kind, known = kind, true
				if id, err := exchange.ParseID(d.GetMetadata()["exchange_id"]); err == nil {
					f.exchange = id
				}
			}
		case *errdetails.RetryInfo:
			f.retryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if !known {
		f.advice = server.Advice(f.kind, adviceOfCode(s))
	}
	return f
}

// kindOfCode sorts the codes that gRPC and the gateway give by themselves.
func kindOfCode(c codes.Code) exchange.Kind {
	switch c {
	case codes.InvalidArgument:
		return exchange.KindInvalidRequest
	case codes.ResourceExhausted: // a message over the limit
		return exchange.KindTooLarge
	case codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		return exchange.KindUnavailable
	case codes.Unimplemented:
		return exchange.KindNotFound
	}
	return exchange.KindInternal
}

// adviceOfCode passes on the text of InvalidArgument, which our own decoder wrote,
// and of nothing else.
func adviceOfCode(s *status.Status) string {
	switch s.Code() {
	case codes.InvalidArgument:
		return s.Message()
	case codes.ResourceExhausted:
		return "the request is too large"
	}
	return ""
}
