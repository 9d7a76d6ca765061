// Package clouds serves the providers' stand-ins on this machine: each on a port of
// its own, over TLS, with an account, tenant, project, domain or organization that
// trusts one issuer of assertions. What is vended there opens a chat endpoint that
// answers who the caller is.
//
// They listen on loopback only, and the keys of their certificates are made at each
// start and are written nowhere (S35).
package clouds
