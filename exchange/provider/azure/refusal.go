package azure

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// refusal is what Entra said no with: its codes and no text of its own, which may
// repeat what we sent.
type refusal struct {
	Status     int
	OAuth      string // RFC 6749 §5.2, empty where the answer is none of Entra's
	Code       int    // AADSTS; zero: none
	Trace      string // for Microsoft's support
	RetryAfter time.Duration
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("Entra answered %d", r.Status)
	if r.OAuth != "" {
		text += " " + r.OAuth
	}
	if r.Code != 0 {
		text += fmt.Sprintf(", AADSTS%d", r.Code)
	}
	if r.Trace != "" {
		text += ", trace id " + r.Trace
	}
	if known, ok := codes[r.Code]; ok {
		text += ": " + known.why
	}
	return text
}

var (
	wordForm  = regexp.MustCompile(`^[a-z_]{1,64}$`)
	codeInTxt = regexp.MustCompile(`^AADSTS([0-9]{1,9})\b`)
)

// readRefusal reads an error answer (Microsoft identity platform, "Error codes"):
// only what has the form of a code gets through.
func readRefusal(a *provider.Answer) *refusal {
	r := &refusal{Status: a.Status, RetryAfter: a.RetryAfter()}
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
		Trace       string `json:"trace_id"`
	}
	if a.Decode(&answer) != nil {
		return r
	}
	if wordForm.MatchString(answer.Error) {
		r.OAuth = answer.Error
	}
	if guidForm.MatchString(answer.Trace) {
		r.Trace = answer.Trace
	}
	if len(answer.Codes) > 0 && answer.Codes[0] > 0 {
		r.Code = answer.Codes[0]
	} else if m := codeInTxt.FindStringSubmatch(answer.Description); m != nil {
		r.Code, _ = strconv.Atoi(m[1])
	}
	return r
}

// kind classifies: by status what is about the moment, by code what is known, by
// OAuth error what is not.
func (r *refusal) kind() exchange.Kind {
	known, ok := codes[r.Code]
	switch {
	case r.Status == http.StatusTooManyRequests:
		return exchange.KindThrottled
	case ok:
		return known.kind
	case r.Status >= 500 || r.OAuth == "temporarily_unavailable" || r.OAuth == "server_error":
		return exchange.KindUnavailable
	case r.OAuth == "invalid_grant" || r.OAuth == "interaction_required" || r.OAuth == "access_denied" || r.OAuth == "consent_required":
		return exchange.KindProviderRefused
	case r.OAuth != "":
		return exchange.KindMisconfigured
	}
	return exchange.KindUnavailable // not Entra speaking
}

// known is what a code means for us.
type known struct {
	kind   exchange.Kind
	advice string // for the caller; it names the setting
	why    string // for the operator
}

// What more than one code says.
const (
	adviceFederation = "the target's trust is not set up at Entra: its operator must add a federated credential to the application of client_id"
	adviceKeys       = "Entra does not take this issuer's signature: the operator must see to it that the federation issuer's keys are public and RS256"
	adviceUserToken  = "Entra does not take the passthrough_token: bring a fresh access token of the user for this target's application"
	adviceUser       = "Entra refuses this user: ask the directory's administrator"
	adviceThrottled  = "Entra asks for fewer requests; try again later"
	adviceDown       = "Entra is not available; try again"
	adviceRefused    = "Entra refuses; ask the target's operator"
	adviceUnset      = "the target is not set up: its operator must check tenant_id, client_id, scope and the federated credential"
)

// codes are the AADSTS codes that tell somebody what to do (Microsoft Entra
// authentication and authorization error codes).
var codes = map[int]known{
	70021:  {exchange.KindMisconfigured, adviceFederation, "no federated credential matches the assertion"},
	70025:  {exchange.KindMisconfigured, adviceFederation, "the application has no federated credentials"},
	700211: {exchange.KindMisconfigured, adviceFederation, "no federated credential has our issuer"},
	700212: {exchange.KindMisconfigured, adviceFederation, "no federated credential has the assertion's audience: compare the setting audience"},
	700213: {exchange.KindMisconfigured, adviceFederation, "no federated credential has the assertion's subject, <tenant>:<target> and what the setting subject adds"},
	700222: {exchange.KindMisconfigured, adviceFederation, "Entra takes no assertions of its own issuing for federation"},
	700024: {exchange.KindUnavailable, "the clocks here and at Entra are apart; ask the operator", "the assertion is not within its time: check this machine's clock"},
	700027: {exchange.KindMisconfigured, adviceKeys, "the assertion's signature does not verify"},
	50027:  {exchange.KindMisconfigured, adviceKeys, "the assertion is malformed"},
	50166:  {exchange.KindMisconfigured, adviceKeys, "Entra cannot fetch this issuer's discovery document or keys"},

	5000811: {exchange.KindMisconfigured, adviceKeys, "the assertion's kid is not among the keys that Entra found"},

	90002:   {exchange.KindMisconfigured, "the target's directory does not exist: its operator must check tenant_id and authority", "no such tenant at this authority"},
	900021:  {exchange.KindMisconfigured, "the target's directory does not exist: its operator must check tenant_id and authority", "tenant_id is none"},
	900023:  {exchange.KindMisconfigured, "the target's directory does not exist: its operator must check tenant_id and authority", "tenant_id is none"},
	700016:  {exchange.KindMisconfigured, "the target's application is not in the directory: its operator must check client_id and tenant_id", "no such application in the tenant"},
	7000112: {exchange.KindMisconfigured, "the target's application is disabled: ask its operator", "the application is disabled"},
	7000218: {exchange.KindMisconfigured, adviceUnset, "Entra asks for a client assertion"},
	500011:  {exchange.KindMisconfigured, "the target's resource is not in the directory: its operator must check scope", "no such resource in the tenant"},
	70011:   {exchange.KindMisconfigured, "the target's scope is not taken: its operator must check scope", "the scope is not valid"},
	1002012: {exchange.KindMisconfigured, "the target's scope is not taken: its operator must check scope", "the scope is not valid for client credentials"},
	28002:   {exchange.KindMisconfigured, "the target's scope is not taken: its operator must check scope", "the scope is not of the resource"},

	65001:  {exchange.KindMisconfigured, "nobody has consented to what this target gives: its operator must have an administrator consent", "consent is missing for the application and the resource"},
	65004:  {exchange.KindProviderRefused, adviceUser, "the user declined to consent"},
	50013:  {exchange.KindProviderRefused, adviceUserToken, "the user's token is not valid for on-behalf-of"},
	500131: {exchange.KindProviderRefused, adviceUserToken, "the user's token is for another application than client_id"},
	500133: {exchange.KindProviderRefused, adviceUserToken, "the user's token is not within its time"},
	50173:  {exchange.KindProviderRefused, adviceUserToken, "the user's session was revoked"},
	53000:  {exchange.KindProviderRefused, adviceUser, "conditional access asks for a compliant device"},
	53001:  {exchange.KindProviderRefused, adviceUser, "conditional access asks for a joined device"},
	53003:  {exchange.KindProviderRefused, adviceUser, "conditional access blocks it"},
	50076:  {exchange.KindProviderRefused, adviceUser, "multi-factor authentication is asked for"},
	50079:  {exchange.KindProviderRefused, adviceUser, "the user has to enrol for multi-factor authentication"},
	50105:  {exchange.KindProviderRefused, adviceUser, "the user is not assigned to the application"},
	50126:  {exchange.KindProviderRefused, adviceUser, "Entra does not take the user's credentials"},
	50057:  {exchange.KindProviderRefused, adviceUser, "the user's account is disabled"},
	50158:  {exchange.KindProviderRefused, adviceUser, "an outside challenge is asked for"},

	50196: {exchange.KindThrottled, adviceThrottled, "Entra takes our requests for a loop"},
	90055: {exchange.KindThrottled, adviceThrottled, "the tenant is throttled"},
	90033: {exchange.KindUnavailable, adviceDown, "a passing fault of the directory"},
	90036: {exchange.KindUnavailable, adviceDown, "a passing fault of the directory"},
}

// aboutAssertion are the codes by which Entra rejects an assertion alone: whoever
// hears one knows that tenant and application were found.
var aboutAssertion = map[int]bool{
	50013: true, 50027: true, 700024: true, 700027: true, 5000811: true,
	70021: true, 70025: true, 700211: true, 700212: true, 700213: true,
}

// advice is what the caller is told.
func (r *refusal) advice() string {
	if known, ok := codes[r.Code]; ok && known.kind == r.kind() {
		return known.advice
	}
	switch r.kind() {
	case exchange.KindThrottled:
		return adviceThrottled
	case exchange.KindUnavailable:
		return adviceDown
	case exchange.KindMisconfigured:
		return adviceUnset
	}
	return adviceRefused
}

// explain turns what went wrong into the house's errors. The grant, where there is
// one, says what the federated credential should be.
func (d *driver) explain(err error, g *exchange.Grant) error {
	switch e := err.(type) {
	case *exchange.Error:
		return e
	case *refusal:
		cause := error(e)
		if g != nil && codes[e.Code].advice == adviceFederation {
			cause = fmt.Errorf("%w; the application %s needs one of subject %q and audience %q",
				e, d.settings.ClientID, d.subject(g), d.settings.audience())
		}
		fault := exchange.Fault(e.kind(), e.advice(), cause)
		fault.RetryAfter = e.RetryAfter
		return fault
	}
	return exchange.Fault(exchange.KindUnavailable, adviceDown, err)
}

// subject is the assertion's `sub`, for the operator.
func (d *driver) subject(g *exchange.Grant) string {
	values, _ := provider.SubjectValues(d.settings.Subject, &g.Subject)
	return exchange.CanonicalName("", append([]string{g.Tenant, g.Target.Name}, values...)...)[1:]
}
