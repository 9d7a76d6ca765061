// Package server is what all doors share: the listener with its certificates and
// its stop, the facts of a request, the address of a caller, and the one table
// from kinds of failure to what each protocol says.
//
// The doors themselves are the folders below it. No door decides anything: each
// turns bytes into an exchange.Request and an outcome into bytes.
package server
