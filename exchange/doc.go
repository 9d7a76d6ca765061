// Package exchange is the domain of Cambio: a bureau de change for identities.
//
// A caller brings a token it already has; policy decides; a provider vends a
// short-lived credential; the ledger holds the event before the credential
// leaves. exchange.go is that pipeline, and each other file here is one word of
// its vocabulary.
//
// This package imports the standard library only. The rooms below it (subject,
// policy, provider, issuer, lease, ledger, governor) import it and never each
// other; the doors (server) and the engines (store) import inward; only
// cmd/cambio knows everyone. A test in imports_test.go holds the arrows.
//
// Nothing here asks for the time, for randomness or for the network: they are
// passed in.
package exchange
