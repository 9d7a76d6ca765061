// Package subject proves incoming tokens and says who they speak for.
//
// A trust is an issuer and the key that verified (S6). Verify decodes a token
// once and strictly (strict.go, header.go), picks the trusts that could answer
// for it by issuer or SPIFFE trust domain, lets the key decide between them
// (keys.go), and only then believes a claim: the checks common to all tokens
// (claims.go), the shape of each kind (kubernetes.go, oidc.go, spiffe.go) and,
// last, the cluster's own opinion (review.go).
//
// Everything that a caller can make us do is bounded: bytes, nesting, signature
// attempts, and fetches, of which an issuer sees at most one per interval however
// many callers ask (source.go). No URL inside a token is followed.
//
// Sessions of applications are apart (session.go): a token type names their trust
// (S37), and the application itself says whether one stands (asker.go).
package subject
