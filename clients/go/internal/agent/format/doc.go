// Package format writes a credential as programs read it: as they are, as JSON, as lines
// of an environment, as the answer to AWS SDKs that run a credential process, to kubectl,
// to git and to docker. It opens no file and asks nobody; what it reads of a caller is
// bounded, and what it writes is checked against the rules of the reader, so that no
// value can pass for a second line.
package format
