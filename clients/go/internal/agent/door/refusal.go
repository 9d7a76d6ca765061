package door

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// refusal is why there is no answer, before a door puts it into its SDK's words.
type refusal struct {
	status     int
	code, text string
	retryAfter int // seconds; 0: nothing is said
}

// Error is what the log says.
func (f *refusal) Error() string { return f.code + ": " + f.text }

// unauthorized says nothing of what there is behind the door.
var unauthorized = &refusal{
	status: http.StatusUnauthorized, code: "unauthorized",
	text: "the secret of this start is missing or wrong: read it anew",
}

// retryLater is how long an SDK is asked to wait when the server does not say, in
// seconds: a source asks again after five at the soonest.
const retryLater = 5

// refusalOf is how an error is told. SDKs try a 5xx again, and no 4xx.
func refusalOf(err error) *refusal {
	var f *refusal
	var refused *cambio.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused) && refused.Retryable:
		wait := max(retryLater, int((refused.RetryAfter+time.Second-1)/time.Second))
		return &refusal{status: http.StatusServiceUnavailable, code: refused.Code, text: refused.Error(), retryAfter: wait}
	case errors.As(err, &refused):
		return &refusal{status: http.StatusForbidden, code: refused.Code, text: refused.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{status: http.StatusServiceUnavailable, code: "unavailable", text: "the server has not answered yet", retryAfter: retryLater}
	}
	return &refusal{status: http.StatusBadGateway, code: "unusable", text: err.Error(), retryAfter: retryLater}
}

// answerJSON writes a JSON object. Content-Type is bare: aws-sdk-go-v2 compares it whole.
func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
