// Package oauth is the OAuth 2.0 door: the token endpoint (RFC 8693 token
// exchange, on fosite), introspection (RFC 7662) and revocation (RFC 7009) of tokens
// of ours, the metadata (RFC 8414, OpenID Connect Discovery) and the key sets.
//
// A request to the token endpoint passes four steps, each in a file of its own:
// form.go reads the bytes strictly, client.go looks for client authentication,
// request.go makes an exchange.Request of the parameters, grant.go is the grant
// that fosite dispatches to. answer.go writes what came of it. Introspection and
// revocation have no grant, and nothing of fosite: own.go reads and proves for both.
// What fosite itself would answer never reaches a caller: every failure is an
// exchange.Kind and passes the table in package server.
package oauth
