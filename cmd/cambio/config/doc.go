// Package config reads cambio.yaml, the process's own settings: where it
// listens, where it keeps its ledger, which keys seal what. What may be exchanged
// stands in the policy folder and is none of this package's business.
//
// config.go is the manual: each field's comment says what it means, what it
// defaults to and whether it may be left out. The reference that `cambio serve
// --help` prints is generated from those comments, so that there is one text.
package config
