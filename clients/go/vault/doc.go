// Package vault reads what targets of provider vault hand out, by hashicorp/vault/api.
//
// Most of all the secret itself, whether the target gives a value, a lease, or a wrapping
// token that is to be unwrapped first:
//
//	reader := vault.NewReader(client.TokenSource(cambio.Request{Audience: "app-db"}), nil)
//	secret, err := reader.Read(ctx) // *api.Secret
//
// Who speaks to a Vault of their own can have its client's token from a target
// ([NewClient]), or log in with a JWT of one ([NewLogin]).
package vault
