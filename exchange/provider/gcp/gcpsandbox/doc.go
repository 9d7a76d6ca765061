// Package gcpsandbox stands in for Google Cloud's Security Token Service, its IAM
// Service Account Credentials API, and a Vertex AI model behind them. It verifies
// what Google verifies of an assertion (algorithm, key, signature, times, the
// provider's allowed audiences, its attribute condition, 127 bytes of subject), who
// may impersonate whom, and scopes; it answers with Google's errors, and its model
// answers who the caller is.
//
// What it knows no better than the real one's documentation is said in README.md.
package gcpsandbox
