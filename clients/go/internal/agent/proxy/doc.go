// Package proxy puts a target's credential on requests that pass through, so that the
// workload never holds it: as a bearer token, in the header of an API key, as a SigV4 or
// an OCI signature. It is a reverse proxy with a list of upstreams, never a forward one.
//
// There is one reading of a request. What a path, a header or a cookie could mean to the
// upstream and did not mean to the lists here is refused rather than cleaned: encoded
// slashes and dots, parameters in segments, two values where one is meant. What the
// caller proves itself with stays here, and so does whatever the upstream would have it
// keep: cookies, and redirects to other origins.
//
// In front of a gateway's route the caller's own OIDC token is verified and exchanged,
// and the upstream sees the credential of that user.
package proxy
