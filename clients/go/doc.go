// Package cambio gets short-lived credentials from a Cambio server.
//
// A [Client] brings the token that the workload already has, its [Identity], to the
// server's token endpoint (RFC 8693) and takes home a [Credential] for a target. A
// [TokenSource] keeps the credential of one request: it renews ahead, by one caller while
// the others go on with the one that is there, and is what the adapters beside this
// package hand to the vendors' SDKs: aws, azure, gcp, oci, vault and mcp. This package
// imports the standard library and golang.org/x/oauth2 alone, so that nobody downloads
// an SDK that they do not use.
//
//	client, err := cambio.New("https://cambio.example", cambio.File(cambio.DefaultTokenFile))
//	…
//	source := client.TokenSource(cambio.Request{Audience: "github-mcp"})
//	http.DefaultClient.Transport = source.Transport(http.DefaultTransport)
//
// Nothing here asks the server more than it must: a thousand goroutines that need the
// same credential at once cause one exchange, a hundred that were refused with the same
// token cause one renewal, and a server that is down is asked every few seconds and no
// more, while credentials that are still good stay in use.
package cambio
