package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// What callers are told. It says nothing of the role, the account or the policy.
const (
	adviceOperator = "the target is not set up at its provider: ask its operator"
	adviceRefused  = "the provider refuses this subject: ask the target's operator to admit it there"
	adviceLater    = "the provider is down, or did not answer properly; try again"
	adviceThrottle = "the provider is asked too often; try again later"
)

func misconfigured(err error) *exchange.Error {
	return exchange.Fault(exchange.KindMisconfigured, adviceOperator, err)
}

func unusable(err error) *exchange.Error {
	return exchange.Fault(exchange.KindUnavailable, adviceLater, err)
}

func late(err error) *exchange.Error {
	return exchange.Fault(exchange.KindUnavailable, "the provider did not answer in time; try again", err)
}

// verdict is what an error code of STS means for us.
type verdict struct {
	kind   exchange.Kind
	advice string
	// mend says which setting to change, for the log. %[1]s is the role, %[2]s the
	// issuer's audience.
	mend string
}

// verdicts are by code (AWS STS API Reference, "Common Errors" and each action's own).
var verdicts = map[string]verdict{
	"AccessDenied": {exchange.KindProviderRefused, adviceRefused,
		"role_arn: %[1]s does not exist, or its trust policy does not admit this sub and audience; with tags it must allow sts:TagSession too, with source_identity sts:SetSourceIdentity"},
	"InvalidIdentityToken": {exchange.KindMisconfigured, adviceOperator,
		"role_arn: its account has no IAM OIDC provider for this issuer with the client id %[2]q, or AWS cannot verify by the keys that the issuer publishes"},
	"ExpiredTokenException": {exchange.KindMisconfigured, adviceOperator,
		"clock: STS takes a token that was signed just now for expired: set the clock of this machine"},
	"IDPRejectedClaim": {exchange.KindMisconfigured, adviceOperator,
		"audience: the IAM OIDC provider does not take the token's claims: see that its client id is %[2]q"},
	"IDPCommunicationError": {exchange.KindUnavailable, adviceLater,
		"issuer: STS cannot reach the issuer's discovery document or its keys: both must be public, on https"},
	"MalformedPolicyDocument": {exchange.KindMisconfigured, adviceOperator, "policy: STS does not take the session policy"},
	"PackedPolicyTooLarge":    {exchange.KindMisconfigured, adviceOperator, "policy, tags: packed together they are too large: use fewer or shorter ones"},
	"ValidationError":         {exchange.KindMisconfigured, adviceOperator, "max_session: if it is over the maximum session duration of %[1]s, lower it; else STS does not take one of the settings"},
	"InvalidParameterValue":   {exchange.KindMisconfigured, adviceOperator, "transitive_tags: STS does not take the tags: one of them may be inherited from this process's own session"},
	"RegionDisabledException": {exchange.KindMisconfigured, adviceOperator, "region: STS is not activated there for this account: activate it, or name another region"},

	"InvalidClientTokenId":        ownCredentials,
	"UnrecognizedClientException": ownCredentials,
	"SignatureDoesNotMatch":       ownCredentials,
	"MissingAuthenticationToken":  ownCredentials,
	"IncompleteSignature":         ownCredentials,
	"ExpiredToken":                ownCredentials,
	"RequestExpired":              ownCredentials,
}

var ownCredentials = verdict{exchange.KindMisconfigured, adviceOperator,
	"method: STS does not take this process's own AWS credentials: see that they are current, and the clock right"}

// theirVerdicts are those where the token was the caller's own.
var theirVerdicts = map[string]verdict{
	"InvalidIdentityToken": {exchange.KindInvalidRequest,
		"passthrough_token: AWS does not take it: bring one with the audience that AWS expects, of an issuer that it knows",
		"role_arn: its account may lack an IAM OIDC provider for the cluster's issuer"},
	"ExpiredTokenException": {exchange.KindInvalidRequest, "passthrough_token: it has expired: bring a fresh one", "the caller's token has expired"},
	"IDPRejectedClaim": {exchange.KindInvalidRequest,
		"passthrough_token: AWS does not take its claims: bring one with the audience that AWS expects", "the caller's token was rejected"},
}

// throttles are the codes of an STS that is asked too often.
var throttles = map[string]bool{
	"Throttling": true, "ThrottlingException": true, "ThrottledException": true, "RequestLimitExceeded": true,
	"TooManyRequestsException": true, "RequestThrottled": true, "RequestThrottledException": true, "SlowDown": true,
}

// fault classifies what the SDK returned. sent is the token that STS was shown, which
// must not come back in a text; theirs: it was the caller's.
func (d *driver) fault(ctx context.Context, err error, sent exchange.Secret, theirs bool) error {
	status, retryAfter := d.statusOf(err)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() == "UnknownError" {
		if barred := provider.Barred(err); barred != nil {
			return barred
		}
		switch {
		case ctx.Err() != nil:
			return late(fmt.Errorf("asking %s: %w", d.host, ctx.Err()))
		case status == http.StatusTooManyRequests:
			return &exchange.Error{Kind: exchange.KindThrottled, Advice: adviceThrottle, RetryAfter: retryAfter, Err: fmt.Errorf("%s answered 429", d.host)}
		case status >= 500:
			return &exchange.Error{Kind: exchange.KindUnavailable, Advice: adviceLater, RetryAfter: retryAfter, Err: fmt.Errorf("%s answered %d, not as an STS does", d.host, status)}
		}
		return unusable(fmt.Errorf("endpoint: asking %s for a session: %s", d.host, safe(err.Error(), sent)))
	}
	said := fmt.Errorf("STS at %s said %s: %s", d.host, safe(api.ErrorCode(), sent), safe(api.ErrorMessage(), sent))
	switch {
	case throttles[api.ErrorCode()] || status == http.StatusTooManyRequests:
		return &exchange.Error{Kind: exchange.KindThrottled, Advice: adviceThrottle, RetryAfter: retryAfter, Err: said}
	case status >= 500:
		return &exchange.Error{Kind: exchange.KindUnavailable, Advice: adviceLater, RetryAfter: retryAfter, Err: said}
	}
	v, known := verdicts[api.ErrorCode()]
	if theirs {
		if their, ok := theirVerdicts[api.ErrorCode()]; ok {
			v, known = their, true
		}
	}
	if !known {
		return misconfigured(said)
	}
	mend := strings.NewReplacer("%[1]s", d.settings.RoleARN, "%[2]q", strconv.Quote(d.settings.Audience)).Replace(v.mend)
	return exchange.Fault(v.kind, v.advice, fmt.Errorf("%s: %w", mend, said))
}

// statusOf is the HTTP status of the last answer, and its Retry-After.
func (d *driver) statusOf(err error) (status int, retryAfter time.Duration) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil || answer.Response.Response == nil {
		return 0, 0
	}
	return answer.HTTPStatusCode(), provider.RetryAfter(answer.Response.Header, d.now())
}

// aToken is what looks like a JWT.
var aToken = regexp.MustCompile(`[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}(\.[A-Za-z0-9_-]*)?`)

// maxSaid bounds what of a provider's text goes to the log, in bytes.
const maxSaid = 512

// safe is a provider's text without the token that it was sent, or another, and
// without what could forge a line of the log.
func safe(text string, sent exchange.Secret) string {
	if !sent.IsZero() {
		text = strings.ReplaceAll(text, sent.Reveal(), "REDACTED")
	}
	text = aToken.ReplaceAllString(text, "REDACTED")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
