// Package azure is the provider for Microsoft Entra ID and what stands behind it
// (Azure OpenAI first of all): an assertion of ours, which an application or a
// managed identity trusts by a federated credential, buys an access token. No secret
// of Azure is kept anywhere.
//
// It is built on azidentity, whose credentials have a token cache that cannot be
// turned off and that looks at neither the assertion nor the user behind it. So a
// credential serves one vending and is dropped (S23); reuse is the vendor's.
package azure
