// Package openai is the provider for the OpenAI API by workload identity federation:
// an assertion of ours, which a workload identity provider of the organization trusts,
// buys an access token of a service account (RFC 8693). No API key is kept anywhere.
package openai
