package api_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// A wrong credential is a refusal, on every method and by both faces; so is one
// where none is taken.
func TestS17WrongCredentialIsNeverAnonymous(t *testing.T) {
	const noBearer = "takes no bearer token"
	h := open(t)
	fill(t, h)
	cases := map[string]struct {
		authorization []string
		code          codes.Code
		status        int
		oauth         string
		invalid       bool   // WWW-Authenticate says invalid_token
		exchange      string // the advice of an exchange
	}{
		"none":              {nil, codes.Unauthenticated, 401, "invalid_token", false, ""},
		"empty":             {[]string{""}, codes.Unauthenticated, 401, "invalid_token", true, "client authentication failed"},
		"basic":             {[]string{"Basic YTpi"}, codes.Unauthenticated, 401, "invalid_token", true, "client authentication failed"},
		"no token":          {[]string{"Bearer"}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"two spaces":        {[]string{"Bearer  " + auditor}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"two tokens":        {[]string{"Bearer " + auditor + " " + auditor}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"two headers":       {[]string{"Bearer " + auditor, "Bearer " + auditor}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"good and bad":      {[]string{"Bearer " + auditor, "Bearer wrong"}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"unknown":           {[]string{"Bearer wrong"}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"of another client": {[]string{"Bearer " + replayed}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"single-use":        {[]string{"Bearer " + burning}, codes.Unauthenticated, 401, "invalid_token", true, noBearer},
		"no role":           {[]string{"Bearer " + nobody}, codes.PermissionDenied, 403, "access_denied", false, noBearer},
		"delegated":         {[]string{"Bearer " + delegated}, codes.PermissionDenied, 403, "access_denied", false, noBearer},
	}
	audits := []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := h.audit.ListExchanges(ctx, &cambiov1.ListExchangesRequest{})
			return err
		},
		func(ctx context.Context) error {
			_, err := h.audit.GetExchange(ctx, &cambiov1.GetExchangeRequest{Exchange: exchangeID.String()})
			return err
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			var headers []string
			for _, a := range c.authorization {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
				headers = append(headers, "Authorization", a)
			}
			for _, call := range audits {
				if err := call(ctx); status.Code(err) != c.code {
					t.Errorf("got %v, want %s", err, c.code)
				}
			}
			for _, path := range []string{"/v1/exchanges", "/v1/exchanges/" + exchangeID.String()} {
				got := h.send(t, "GET", path, "", headers...)
				got.want(t, c.status, c.oauth, "")
				challenge := got.header.Get("WWW-Authenticate")
				if strings.HasPrefix(challenge, "Bearer ") != (c.status == 401) || strings.Contains(challenge, "invalid_token") != c.invalid {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
			}
			if c.authorization == nil {
				return
			}
			// The exchange takes no bearer token; a good one is refused as well, so that
			// nobody believes it counted.
			if _, err := h.exchange.Exchange(ctx, goodRequest()); status.Code(err) != codes.Unauthenticated {
				t.Errorf("exchange: got %v", err)
			}
			h.send(t, "POST", "/v1/exchanges", goodBody, headers...).want(t, 401, "invalid_client", c.exchange)
		})
	}
	h.send(t, "POST", "/v1/exchanges", goodBody, "Authorization", "Bearer \x80").want(t, 401, "invalid_client", noBearer)
	h.send(t, "GET", "/v1/exchanges", "", "Authorization", "Bearer \x80").want(t, 401, "invalid_token", "")
	if h.bureau.count() != 0 || len(h.book.notes) != 0 || h.book.reads != 0 {
		t.Error("something was done for them")
	}
}

func TestVerifierThatIsDownIsUnavailable(t *testing.T) {
	h := open(t)
	h.verifier.down = true
	_, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{})
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "10.9.8.7") {
		t.Errorf("got %v", err)
	}
}
