// Package mcp is the provider for MCP servers and other OAuth resources that trust
// this issuer: its credential is an access token of our own (RFC 9068), bound to
// one resource (RFC 8707), as the MCP authorization specification asks. Where the
// resource is behind another authorization server, the credential is our identity
// assertion grant for that server.
//
// Nothing is asked of anyone outside, so the driver is local: one durable write,
// no credential cache.
package mcp
