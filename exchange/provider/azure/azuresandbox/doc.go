// Package azuresandbox stands in for Microsoft Entra ID and for an Azure OpenAI
// resource behind it. It verifies what Entra verifies of an assertion (algorithm,
// key, signature, times, and a federated credential of exactly its issuer, subject
// and audience), answers with Entra's errors, and issues access tokens that its chat
// completions take, which answer who the caller is.
//
// What it knows no better than the real one's documentation is said in README.md.
package azuresandbox
