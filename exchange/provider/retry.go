package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a provider may say: a day's ban is for an operator to
// lift, not for us to keep.
const maxRetryAfter = 15 * time.Minute

// RetryAfter reads a Retry-After header (RFC 9110 §10.2.3), in whole seconds or as a
// date; zero where it says nothing, or nothing to come.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil || !at.After(now) {
		return 0
	}
	return min(at.Sub(now), maxRetryAfter)
}
