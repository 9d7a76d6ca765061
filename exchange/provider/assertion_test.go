package provider_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestS2SubjectValues: a name stands for exactly one value, or for nobody.
func TestS2SubjectValues(t *testing.T) {
	s := exchange.Subject{Name: "k8s:prod:llm:gateway", Attributes: exchange.Attributes{
		"namespace": {"llm"}, "groups": {"a", "b"}, "empty": {""},
	}}
	for _, c := range []struct{ names, want []string }{
		{nil, nil},
		{[]string{"subject"}, []string{"k8s:prod:llm:gateway"}},
		{[]string{"namespace", "subject"}, []string{"llm", "k8s:prod:llm:gateway"}},
	} {
		if got, err := provider.SubjectValues(c.names, &s); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q: %v", c.names, got, err)
		}
	}
	for _, name := range []string{"groups", "empty", "absent"} {
		if got, err := provider.SubjectValues([]string{name}, &s); exchange.KindOf(err) != exchange.KindMisconfigured {
			t.Errorf("%s: %q: %v", name, got, err)
		}
	}
	if faults := provider.CheckSubjectNames([]string{"subject", "service_account", "Bad Name", ""}); len(faults) != 2 {
		t.Errorf("%v", faults)
	}
	if faults := provider.CheckSubjectNames(slices.Repeat([]string{"subject"}, 9)); len(faults) != 1 {
		t.Errorf("%v", faults)
	}
}

// TestRFC9110Section10_2_3RetryAfter: seconds or a date, and never longer than we
// would wait.
func TestRFC9110Section10_2_3RetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 30 ": 30 * time.Second, "86400": 15 * time.Minute, "99999999999999999999": 0,
		"-1": 0, "1.5": 0, "soon": 0,
		"Sat, 21 Nov 2026 12:01:00 GMT": time.Minute, "Sat, 21 Nov 2026 11:59:00 GMT": 0, "Sun, 22 Nov 2026 12:00:00 GMT": 15 * time.Minute,
	} {
		if got := provider.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
