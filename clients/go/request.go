package cambio

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// GrantType is that of a token exchange (RFC 8693 §2.1).
const GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"

// Token types (RFC 8693 §3), and those of Cambio's credentials that are no OAuth tokens.
const (
	TokenTypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	TokenTypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TokenTypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

	TokenTypeAWSCredentials    = "urn:cambio:token-type:aws-credentials"
	TokenTypeBedrockKey        = "urn:cambio:token-type:bedrock-api-key"
	TokenTypeOCIRPST           = "urn:oci:token-type:oci-rpst"
	TokenTypeOCIUPST           = "urn:oci:token-type:oci-upst"
	TokenTypeOCISigningSession = "urn:cambio:token-type:oci-signing-session"
	TokenTypeSecret            = "urn:cambio:token-type:secret"
	TokenTypeVaultLease        = "urn:cambio:token-type:vault-lease"
	TokenTypeVaultWrapping     = "urn:cambio:token-type:vault-wrapping"
)

// Request says what is wanted. One of Audience and Resource is needed, unless the
// server has a default for the client.
type Request struct {
	Audience  string   // name of the target
	Resource  string   // URI of the target (RFC 8707)
	Scopes    []string // none: what the policy gives
	TokenType string   // requested_token_type; empty: what the target issues
	// Lifetime is in whole seconds; 0: what the server gives. More than the policy
	// allows is refused.
	Lifetime time.Duration
	Reason   string // one line of at most 512 bytes for the ledger
	// PublicKey is a SubjectPublicKeyInfo in DER, for targets that bind to a key.
	PublicKey []byte
	// Rejected is the credential that the target's resource refused before its time: the
	// server is told its SHA-256, and hands out another one. A TokenSource sets it by itself.
	Rejected Secret

	// Subject is whom the credential is for; nil: the client's own identity. With a
	// Subject the client's identity is the actor, unless Actor names another.
	Subject Identity
	// Actor is who acts for the subject; nil: nobody, or the client's identity if
	// there is a Subject. NoActor: nobody.
	Actor Identity
	// Passthrough is a second token of the subject, which the target hands on.
	Passthrough Identity
}

// NoActor says that a Subject's request has no actor, for policies that know the subject
// alone.
var NoActor Identity = noActor{}

type noActor struct{}

// SubjectToken is an error: nobody has no token.
func (noActor) SubjectToken(context.Context) (SubjectToken, error) {
	return SubjectToken{}, errors.New("nobody acts")
}

// form is the request without tokens, in a fixed order.
func (r *Request) form() url.Values {
	form := url.Values{"grant_type": {GrantType}}
	set := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	set("audience", r.Audience)
	set("resource", r.Resource)
	set("scope", strings.Join(r.Scopes, " "))
	set("requested_token_type", r.TokenType)
	if r.Lifetime > 0 {
		set("requested_lifetime", strconv.FormatInt(int64(r.Lifetime/time.Second), 10))
	}
	set("reason", r.Reason)
	if !r.Rejected.IsZero() {
		sum := sha256.Sum256([]byte(r.Rejected.Reveal()))
		set("rejected_sha256", base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	set("public_key", base64.StdEncoding.EncodeToString(r.PublicKey))
	return form
}

// shared reports whether every caller who asks so gets the same credential: then the
// client keeps one source for all of them.
func (r *Request) shared() bool {
	return r.Subject == nil && r.Actor == nil && r.Passthrough == nil
}
