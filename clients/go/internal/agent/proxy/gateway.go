package proxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	maxToken     = 16 << 10 // bytes of a caller's token
	defaultSkew  = 30 * time.Second
	defaultUsers = 1024
)

// algorithms are the signatures there are: each needs a private key, which no verifier
// has (RFC 8725 §3.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

func (g *Gateway) skew() time.Duration {
	if g.ClockSkew == nil {
		return defaultSkew
	}
	return *g.ClockSkew
}

func (g *Gateway) maxUsers() int {
	if g.MaxUsers == 0 {
		return defaultUsers
	}
	return g.MaxUsers
}

// gate verifies callers' tokens.
type gate struct {
	issuer, audience string
	algorithms       []string
	skew             time.Duration
	required         map[string][]string
	keys             *keys
	verifier         *oidc.IDTokenVerifier
	now              func() time.Time
}

// verified is a token that is good.
type verified struct {
	token   cambio.Secret
	expires time.Time // as the token says
}

func newGate(g Gateway, now func() time.Time) (*gate, error) {
	roots, err := rootsOf(g.CAFile)
	if err != nil {
		return nil, fmt.Errorf("gateway.ca_file: %w", err)
	}
	names := g.Algorithms
	if len(names) == 0 {
		names = []string{oidc.RS256, oidc.ES256}
	}
	required := map[string][]string{}
	for name, value := range g.RequiredClaims {
		required[name] = accepted(value)
	}
	made := &gate{issuer: g.Issuer, audience: g.Audience, algorithms: names, skew: g.skew(), required: required, now: now}
	made.keys = newKeys(g.Issuer, g.JWKSURL, roots, names, now)
	made.verifier = made.verifierOf(made.keys)
	return made, nil
}

// verifierOf checks all but times and claims, by these keys.
func (g *gate) verifierOf(k *keys) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(g.issuer, k, &oidc.Config{
		ClientID: g.audience, SupportedSigningAlgs: g.algorithms, SkipExpiryCheck: true, // that is below, with the skew
	})
}

// verify finds the one bearer token of a request and checks it: signature, issuer,
// audience, times, and the claims that are required.
func (g *gate) verify(req *http.Request) (verified, *refusal) {
	lines := req.Header.Values("Authorization")
	if len(lines) != 1 {
		return verified{}, unproven("send one token of %s as Authorization: Bearer", g.issuer)
	}
	scheme, text, _ := strings.Cut(lines[0], " ")
	if text = strings.Trim(text, " "); !strings.EqualFold(scheme, "Bearer") || len(text) > maxToken || !compact(text) {
		return verified{}, unproven("send a token of %s as Authorization: Bearer", g.issuer)
	}
	ctx, cancel := context.WithTimeout(req.Context(), fetchTimeout)
	defer cancel()
	failed := false
	token, err := g.verifier.Verify(context.WithValue(ctx, outage{}, &failed), text)
	if failed {
		return verified{}, &refusal{
			status: http.StatusServiceUnavailable, code: "issuer_unreachable", after: fetchEvery,
			message: "the issuer's keys cannot be had, and no token can be verified: see whether gateway.issuer is up, and can be reached from here",
		}
	}
	if err != nil {
		// The library's words may quote claims of a token that nobody signed.
		return verified{}, unproven("the token is not one of %s for this gateway: its signature, algorithm, issuer or audience is another", g.issuer)
	}
	var claims map[string]any
	if token.Claims(&claims) != nil {
		return verified{}, unproven("the token's claims are no object")
	}
	expires, ok := moment(claims["exp"])
	if !ok {
		return verified{}, unproven("the token has no exp")
	}
	if now := g.now(); !now.Before(expires.Add(g.skew)) {
		return verified{}, unproven("the token is expired: get another")
	} else if before, ok := moment(claims["nbf"]); ok && now.Add(g.skew).Before(before) {
		return verified{}, unproven("the token is not good yet: compare the clocks")
	} else if _, given := claims["nbf"]; given && !ok {
		return verified{}, unproven("the token's nbf is no time")
	}
	for name, good := range g.required {
		if !slices.ContainsFunc(accepted(claims[name]), func(v string) bool { return slices.Contains(good, v) }) {
			return verified{}, unproven("the token's claim %s is not one that is asked for", name)
		}
	}
	return verified{cambio.NewSecret(text), expires}, nil
}

// compact reports whether a text is a JWT as its issuer wrote it: three parts, each in the
// one encoding that its bytes have (RFC 4648 §3.5), so that a token has one hash.
func compact(text string) bool {
	parts := strings.Split(text, ".")
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return false
		}
	}
	return len(parts) == 3
}

// unproven is RFC 6750 §3.
func unproven(format string, args ...any) *refusal {
	r := refuse(http.StatusUnauthorized, "invalid_token", format, args...)
	r.challenge = `Bearer realm="cambio-agent", error="invalid_token"`
	return r
}

// moment reads a NumericDate (RFC 7519 §2).
func moment(claim any) (time.Time, bool) {
	seconds, ok := claim.(float64)
	if !ok || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// accepted are the values of a claim, or of a setting, one text each: "true" is not
// true, and no list is taken apart twice.
func accepted(value any) []string {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var texts []string
	for _, one := range list {
		switch one.(type) {
		case string, bool, float64, int, int64, uint64:
			text, err := json.Marshal(one)
			if err == nil {
				texts = append(texts, string(text))
			}
		}
	}
	return texts
}
