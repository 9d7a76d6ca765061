// Package sandbox is what the stand-ins of the providers share: a stand-in checks an
// assertion the way its cloud does, against our published keys, and can be given bad
// weather.
//
// Each stand-in lives in its driver's folder (aws/awssandbox and so on) and is an
// http.Handler. Tests, `cambio dev` and `cambio sandbox` serve it over TLS. It has
// two halves: the token endpoint that the driver speaks to, and a resource behind it
// that what was vended opens, which answers who the caller is.
package sandbox
