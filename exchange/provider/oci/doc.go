// Package oci is the provider for Oracle Cloud Infrastructure: an identity domain
// changes an assertion of ours into a resource principal session token (RPST) or a
// user principal session token (UPST), which is bound to an RSA key.
//
// By default the key is the caller's, who sends the public half and signs by itself
// (proof of possession): what we hand out is of no use without the other half. Where
// the target says so, Cambio holds key and token as a signing session and signs
// single requests for the caller (S25).
//
// The calls go through Oracle's SDK, save its own token-exchange provider: that one
// makes its own key, and fetches key and token apart from each other, so that under
// load requests are signed with a key that their token does not name.
package oci
