// Package vault is the provider for HashiCorp Vault and OpenBao: static values of its
// KV engines, and the leases of every engine that makes credentials, found by path.
// Each exchange logs in for itself, so that a lease hangs on a token of its own and
// dies with it.
//
// Of the API's own Go package it uses the requests, the answers and the names, and not
// the client: that takes VAULT_TOKEN, VAULT_NAMESPACE and further headers out of the
// environment of whatever process makes one, tries again by itself what must not be
// asked twice, and follows a redirect with the token in hand.
package vault
