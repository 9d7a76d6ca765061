// Package testmcp holds Cambio to what MCP servers and clients need: servers and clients
// made with the official SDKs, over each transport, and the protocol's own conformance
// suite. Its tests carry the build tag mcp and are run by run.sh, which builds what they
// talk to.
package testmcp
