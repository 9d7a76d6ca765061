package gcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// refusal is what Google said no with: its code and what we make of its text, which
// is never repeated, since it may repeat what we sent.
type refusal struct {
	impersonating bool
	status        int
	word          string // `error` of the Security Token Service, or `status` of google.rpc
	reason        string // of google.rpc.ErrorInfo
	hint          hint
	retryAfter    time.Duration
}

// hint is what a phrase in Google's text means.
type hint struct {
	phrase string
	kind   exchange.Kind
	advice string
	why    string
}

const (
	adviceTrust     = "the target's trust is not set up at Google: its operator must check the pool, the provider and its issuer, audiences and mapping"
	adviceAccount   = "the target's service account cannot be used: its operator must check service_account and who may impersonate it"
	adviceThrottled = "Google asks for fewer requests; try again later"
	adviceDown      = "Google is not available; try again"
	adviceRefused   = "Google refuses this target's identity: its operator must look at the pool provider's attribute condition"
)

// hints of the Security Token Service, by what its texts are known to say.
var hints = []hint{
	{"issuer in id token", exchange.KindMisconfigured, adviceTrust, "the provider's issuer URI is not this federation issuer"},
	{"audience in id token", exchange.KindMisconfigured, adviceTrust, "the assertion's audience is not among the provider's allowed audiences: compare assertion_audience"},
	{"connecting to the given credential's issuer", exchange.KindUnavailable, "Google cannot reach this issuer; try again", "Google cannot fetch this issuer's discovery document or keys: they have to be public, or uploaded to the provider"},
	{"stale to sign-in", exchange.KindUnavailable, "the clocks here and at Google are apart; ask the operator", "the assertion is not within its time: check this machine's clock"},
	{"127 bytes", exchange.KindMisconfigured, adviceTrust, "google.subject is over 127 bytes: shorten what the mapping gives it"},
	{"attribute condition", exchange.KindProviderRefused, adviceRefused, "the provider's attribute condition rejects the assertion"},
	{"actor", exchange.KindMisconfigured, adviceTrust, "the actor's assertion is not taken: compare actor_provider with the provider's actor providers"},
}

var wordForm = regexp.MustCompile(`^[A-Za-z_]{1,64}$`)

// readRefusal reads an error of either service: OAuth's shape (RFC 6749 §5.2) or that
// of google.rpc.Status.
func readRefusal(path string, a *provider.Answer) *refusal {
	r := &refusal{impersonating: strings.Contains(path, "/serviceAccounts/"), status: a.Status, retryAfter: a.RetryAfter()}
	var answer struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	if a.Decode(&answer) != nil {
		return r
	}
	var rpc struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	text := answer.Description
	if json.Unmarshal(answer.Error, &r.word) != nil && json.Unmarshal(answer.Error, &rpc) == nil {
		r.word, text = rpc.Status, rpc.Message
		for _, d := range rpc.Details {
			if wordForm.MatchString(d.Reason) {
				r.reason = d.Reason
			}
		}
	}
	if !wordForm.MatchString(r.word) {
		r.word = ""
	}
	if !r.impersonating {
		text = strings.ToLower(text)
		for _, h := range hints {
			if strings.Contains(text, h.phrase) {
				r.hint = h
				break
			}
		}
	}
	return r
}

func (r *refusal) Error() string {
	service := "the Security Token Service"
	if r.impersonating {
		service = "the IAM Service Account Credentials API"
	}
	text := fmt.Sprintf("%s answered %d", service, r.status)
	for _, word := range []string{r.word, r.reason} {
		if word != "" {
			text += " " + word
		}
	}
	if _, _, why := r.verdict(); why != "" {
		text += ": " + why
	}
	return text
}

// verdict is what to make of it: the kind, advice for the caller, and a word for the
// operator.
func (r *refusal) verdict() (exchange.Kind, string, string) {
	switch {
	case r.status == http.StatusTooManyRequests || r.word == "RESOURCE_EXHAUSTED":
		return exchange.KindThrottled, adviceThrottled, ""
	case r.status >= 500 || r.word == "":
		return exchange.KindUnavailable, adviceDown, ""
	case r.impersonating:
		return r.accountVerdict()
	case r.hint.phrase != "":
		return r.hint.kind, r.hint.advice, r.hint.why
	}
	switch r.word {
	case "invalid_target":
		return exchange.KindMisconfigured, "the target's pool or provider does not exist: its operator must check provider",
			"the pool or its provider is disabled, deleted, or was never there"
	case "unauthorized_client":
		return exchange.KindProviderRefused, adviceRefused, "the provider's attribute condition rejects the assertion"
	case "invalid_scope":
		return exchange.KindMisconfigured, "the target's scope is not taken: its operator must check scopes", ""
	case "access_denied":
		return exchange.KindProviderRefused, adviceRefused, ""
	}
	return exchange.KindMisconfigured, adviceTrust, ""
}

func (r *refusal) accountVerdict() (exchange.Kind, string, string) {
	switch r.word {
	case "NOT_FOUND":
		return exchange.KindMisconfigured, adviceAccount, "there is no such service account: check service_account and delegates"
	case "PERMISSION_DENIED":
		if r.reason == "SERVICE_DISABLED" {
			return exchange.KindMisconfigured, adviceAccount, "enable iamcredentials.googleapis.com in the service account's project"
		}
		return exchange.KindMisconfigured, adviceAccount,
			"grant roles/iam.workloadIdentityUser on the service account to the pool's principal, and roles/iam.serviceAccountTokenCreator along the delegates"
	case "INVALID_ARGUMENT", "FAILED_PRECONDITION":
		return exchange.KindMisconfigured, "the target's settings are not taken by Google: its operator must check scopes, audience and extended",
			"a scope or the audience is not valid, or the lifetime is over what the organization allows: compare extended"
	}
	return exchange.KindMisconfigured, adviceAccount, ""
}

// explain turns what went wrong into the house's errors.
func explain(err error) error {
	switch e := err.(type) {
	case *exchange.Error:
		return e
	case *refusal:
		kind, advice, _ := e.verdict()
		fault := exchange.Fault(kind, advice, e)
		fault.RetryAfter = e.retryAfter
		return fault
	}
	return exchange.Fault(exchange.KindUnavailable, adviceDown, err)
}
