// Package client authenticates registered clients: by a machine-made secret, by an
// assertion that the client signs (RFC 7523 §2.2), or by a token of a trust that
// policy takes for the client's.
//
// What fails here is one refusal, of KindInvalidClient, whether the client is
// unknown or its credential wrong. Keys that cannot be had are KindUnavailable.
package client
