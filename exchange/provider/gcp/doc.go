// Package gcp is the provider for Google Cloud: an assertion of ours, which a
// workload (or workforce) identity pool trusts, buys a federated token at the
// Security Token Service, and that one, mostly, a short-lived token of a service
// account. No key of Google's is kept anywhere.
//
// It is plain HTTP. Google's libraries for this keep a token source and its cache per
// configuration, tell errors as texts, send no actor token and make no ID tokens;
// what is left of the task is three calls.
package gcp
