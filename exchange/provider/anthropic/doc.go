// Package anthropic is the provider for the Claude API by workload identity
// federation: an assertion of ours, which a federation rule of the organization
// matches, buys an access token (RFC 7523 §2.1). No API key is kept anywhere.
package anthropic
