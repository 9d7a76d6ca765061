// Package oauth2 is the provider for resources whose tokens somebody else's
// authorization server issues: the house is a client there, and asks in its own name
// (RFC 6749 §4.4), by token exchange (RFC 8693), by an assertion for the subject (RFC
// 7523), or by an identity assertion grant of the company's own provider (ID-JAG).
//
// Where the server is not named it is found by the resource's metadata (RFC 9728) and
// the server's own (RFC 8414): in the background, once the target is in force, and
// never while an exchange waits.
package oauth2
