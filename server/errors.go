package server

import (
	"log/slog"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/cambio-sts/cambio/exchange"
)

// Row says how one kind of failure looks at each door.
type Row struct {
	OAuth string     // `error` of RFC 6749 §5.2, RFC 6750 §3.1 or RFC 8707 §2
	HTTP  int        // status, at the OAuth doors and at the REST face alike
	GRPC  codes.Code // at the gRPC door
	Level slog.Level // Info: the caller's to mend; Warn: worth watching; Error: ours
}

// rows is the one table. A bad or refused subject or actor is invalid_request
// (RFC 8693 §2.2.2), never invalid_grant. RFC 6749 §5.2 has no word for "later":
// temporarily_unavailable is the one of §4.1.2.1, and the status tells throttling
// from an outage. Where HTTP itself has the exact word (405, 413, 415) the status
// is HTTP's and the body stays invalid_request, so that a client that reads only
// one of the two still learns what to change.
var rows = map[exchange.Kind]Row{
	exchange.KindInternal:         {"server_error", http.StatusInternalServerError, codes.Internal, slog.LevelError},
	exchange.KindInvalidRequest:   {"invalid_request", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindInvalidSubject:   {"invalid_request", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindInvalidActor:     {"invalid_request", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindInvalidClient:    {"invalid_client", http.StatusUnauthorized, codes.Unauthenticated, slog.LevelInfo},
	exchange.KindUnsupportedGrant: {"unsupported_grant_type", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindInvalidTarget:    {"invalid_target", http.StatusBadRequest, codes.PermissionDenied, slog.LevelInfo},
	exchange.KindInvalidScope:     {"invalid_scope", http.StatusBadRequest, codes.PermissionDenied, slog.LevelInfo},
	exchange.KindInvalidLifetime:  {"invalid_request", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindReasonRequired:   {"invalid_request", http.StatusBadRequest, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindReplayed:         {"invalid_request", http.StatusBadRequest, codes.FailedPrecondition, slog.LevelWarn},
	exchange.KindThrottled:        {"temporarily_unavailable", http.StatusTooManyRequests, codes.ResourceExhausted, slog.LevelInfo},
	exchange.KindUnavailable:      {"temporarily_unavailable", http.StatusServiceUnavailable, codes.Unavailable, slog.LevelWarn},
	exchange.KindTooLarge:         {"invalid_request", http.StatusRequestEntityTooLarge, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindMisconfigured:    {"server_error", http.StatusInternalServerError, codes.Internal, slog.LevelError},
	exchange.KindProviderRefused:  {"invalid_target", http.StatusBadRequest, codes.FailedPrecondition, slog.LevelWarn},
	exchange.KindUnauthenticated:  {"invalid_token", http.StatusUnauthorized, codes.Unauthenticated, slog.LevelInfo},
	exchange.KindPermissionDenied: {"access_denied", http.StatusForbidden, codes.PermissionDenied, slog.LevelInfo},
	exchange.KindNotFound:         {"invalid_request", http.StatusNotFound, codes.NotFound, slog.LevelInfo},
	exchange.KindUnsupportedMedia: {"invalid_request", http.StatusUnsupportedMediaType, codes.InvalidArgument, slog.LevelInfo},
	exchange.KindMethodNotAllowed: {"invalid_request", http.StatusMethodNotAllowed, codes.Unimplemented, slog.LevelInfo},

	exchange.KindUnauthorizedClient: {"unauthorized_client", http.StatusBadRequest, codes.PermissionDenied, slog.LevelInfo},
}

// RowOf is the row of a kind; one that the table lacks is internal.
func RowOf(kind exchange.Kind) Row {
	row, ok := rows[kind]
	if !ok {
		return rows[exchange.KindInternal]
	}
	return row
}

// advice stands in where an Error brings none, so that no answer is mute.
var advice = map[exchange.Kind]string{
	exchange.KindInternal:      "the server failed; the exchange id finds the reason in its log",
	exchange.KindUnavailable:   "the service, or something it needs, is down; try again later",
	exchange.KindThrottled:     "too many requests; try again later",
	exchange.KindMisconfigured: "the server is not set up for this; its operator finds the reason under the exchange id",
}

// Advice is the sentence for the caller: what the error brought, or what its kind
// says by itself. The texts of internal failures and of misconfiguration stay
// inside whatever they brought, since they speak of us and not of the request.
func Advice(kind exchange.Kind, brought string) string {
	switch {
	case RowOf(kind) == rows[exchange.KindInternal]:
		if kind == exchange.KindMisconfigured {
			return advice[kind]
		}
		return advice[exchange.KindInternal]
	case brought != "":
		return brought
	case advice[kind] != "":
		return advice[kind]
	}
	return "the request was refused: " + kind.String()
}
