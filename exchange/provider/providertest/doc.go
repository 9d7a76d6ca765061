// Package providertest is the suite that every driver passes, against a stand-in of
// its provider that verifies what the real one verifies; and Upstream, a provider
// in memory for tests of everything around drivers.
package providertest
