package awssandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// algorithms are those that STS verifies.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// assumeWithWebIdentity is the action for whoever has a token.
func (s *Server) assumeWithWebIdentity(form url.Values) (*answer, *refusal) {
	const action = "sts:AssumeRoleWithWebIdentity"
	a, refused := s.readAsked(form)
	if refused != nil {
		return nil, refused
	}
	token := form.Get("WebIdentityToken")
	if len(token) < 4 || len(token) > 20_000 {
		return nil, constraint("…", "webIdentityToken", "have length between 4 and 20000")
	}
	provider, claims, refused := s.verify(token)
	if refused != nil {
		return nil, refused
	}
	of, err := sessionOf(claims)
	if err == nil {
		err = checkTags(&a, of.Tags, of.TransitiveTags, of.SourceIdentity)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "InvalidIdentityToken", "The session tags or the source identity in the token are invalid: %s", err)
	}
	f := facts{
		strings.ToLower(provider.name + ":sub"): {claims.Subject}, strings.ToLower(provider.name + ":aud"): {claims.Audience},
		"aws:federatedprovider": {provider.arn},
	}
	r, refused := s.admit(a, of, f, []string{provider.arn}, action)
	if refused != nil {
		return nil, refused
	}
	out, refused := s.granted(r, a, of, a.policies)
	if refused == nil {
		out.Audience, out.Provider, out.Subject = claims.Audience, provider.arn, claims.Subject
	}
	return out, refused
}

// verify checks the token as STS does, by the provider whose issuer it names.
func (s *Server) verify(token string) (*identityProvider, sandbox.Claims, *refusal) {
	issuer, err := issuerOf(token)
	if err != nil {
		return nil, sandbox.Claims{}, refuse(http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	provider, ok := s.providers[issuer]
	if !ok {
		return nil, sandbox.Claims{}, refuse(http.StatusBadRequest, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for %s", issuer)
	}
	if len(provider.keys()) == 0 {
		return nil, sandbox.Claims{}, refuse(http.StatusBadRequest, "IDPCommunicationError", "Couldn't communicate with the identity provider")
	}
	claims, err := provider.assertions.Verify(token, sandbox.Expect{
		Audiences: provider.audiences, Algorithms: algorithms, SingleUse: s.singleUse, List: true,
	})
	if err != nil {
		return nil, sandbox.Claims{}, refuseToken(err)
	}
	return provider, claims, nil
}

// refuseToken is how STS says what is wrong with a token.
func refuseToken(err error) *refusal {
	var fault *sandbox.Fault
	if !errors.As(err, &fault) {
		return refuse(http.StatusBadRequest, "InvalidIdentityToken", "The ID Token is invalid")
	}
	switch fault.Reason {
	case sandbox.ReasonExpired:
		return refuse(http.StatusBadRequest, "ExpiredTokenException", "Token expired: %s", fault.Detail)
	case sandbox.ReasonAudience:
		return refuse(http.StatusBadRequest, "InvalidIdentityToken", "Incorrect token audience")
	case sandbox.ReasonKey, sandbox.ReasonSignature, sandbox.ReasonAlgorithm:
		return refuse(http.StatusBadRequest, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	case sandbox.ReasonSubject:
		return refuse(http.StatusForbidden, "IDPRejectedClaim", "The token has no sub")
	}
	return refuse(http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is invalid: %s", fault.Detail)
}

// issuerOf is who a token says it is from, before anything is verified.
func issuerOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("a JWT has three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", err
	}
	return c.Issuer, nil
}

// sessionOf reads the claims for AWS (IAM User Guide, "Passing session tags using
// AssumeRoleWithWebIdentity"): each value is a list of one text.
func sessionOf(c sandbox.Claims) (Session, error) {
	of := Session{Subject: c.Subject, Tags: map[string]string{}}
	if raw, ok := c.All["https://aws.amazon.com/source_identity"]; ok {
		if of.SourceIdentity, ok = raw.(string); !ok || of.SourceIdentity == "" {
			return of, errors.New("the source identity is no text")
		}
	}
	raw, ok := c.All["https://aws.amazon.com/tags"]
	if !ok {
		return of, nil
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return of, err
	}
	var claim struct {
		Principal  map[string][]string `json:"principal_tags"`
		Transitive []string            `json:"transitive_tag_keys"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&claim); err != nil {
		return of, errors.New("principal_tags is a map to lists of one text, transitive_tag_keys a list of texts")
	}
	for key, values := range claim.Principal {
		if len(values) != 1 {
			return of, fmt.Errorf("the tag %q has %d values", key, len(values))
		}
		of.Tags[key] = values[0]
	}
	of.TransitiveTags = claim.Transitive
	return of, nil
}

// admit asks the role's trust policy, for the action and for all that the session
// brings along.
func (s *Server) admit(a asked, of Session, f facts, by []string, action string) (*role, *refusal) {
	f["sts:rolesessionname"] = []string{a.name}
	actions := []string{action}
	if len(of.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
		for key, value := range of.Tags {
			f["aws:requesttag/"+strings.ToLower(key)] = []string{value}
			f["aws:tagkeys"] = append(f["aws:tagkeys"], key)
		}
		slices.Sort(f["aws:tagkeys"])
		if len(of.TransitiveTags) > 0 {
			f["sts:transitivetagkeys"] = of.TransitiveTags
		}
	}
	if of.SourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
		f["sts:sourceidentity"] = []string{of.SourceIdentity}
	}
	r := s.roles[a.role]
	for _, wanted := range actions {
		if r == nil || r.trust.decide(wanted, "", by, f) != allow {
			return nil, refuse(http.StatusForbidden, "AccessDenied", "Not authorized to perform %s", wanted)
		}
	}
	if a.duration > r.MaxSession {
		return nil, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return r, a.tooLarge()
}
