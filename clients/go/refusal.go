package cambio

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/quiet"
)

// maxRetryAfter bounds how long a server can make us wait.
const maxRetryAfter = 5 * time.Minute

// refusal reads an answer that is no 200 (RFC 6749 §5.2). What the request brought is
// not repeated, should the answer do so.
func refusal(resp *http.Response, text []byte, secrets []string) *Error {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		ExchangeID  string `json:"exchange_id"`
	}
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	if len(text) <= maxAnswer && json.Unmarshal(text, &answer) == nil && answer.Error != "" {
		say := func(text string) string { return plain(quiet.Text(text, secrets...)) }
		e.Code, e.Description, e.ExchangeID = say(answer.Error), say(answer.Description), say(answer.ExchangeID)
	} else {
		e.Code = CodeBadAnswer
		e.Description = "status " + strconv.Itoa(resp.StatusCode) + ", and not a word of why: is it a Cambio server?"
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Retryable = true
	}
	return e
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After")))
	if err != nil || seconds < 0 {
		return 0
	}
	if seconds > int(maxRetryAfter/time.Second) { // before it is multiplied, and overflows
		return maxRetryAfter
	}
	return time.Duration(seconds) * time.Second
}

// plain makes a text of the network fit for one line of a log, 512 bytes at most.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r <= 0x9f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, text)
	if len(text) > 512 {
		text = strings.ToValidUTF8(text[:512], "")
	}
	return text
}
