// Package devworld is what `cambio dev` plays on one machine: a Kubernetes
// cluster with service accounts, and a company with users. Both are issuers with
// keys made on the spot and kept in the data folder, readable by its owner only.
//
// Their names end in .test, which is nobody's (RFC 6761 §6.2), so that a policy
// from here can be told from a real one, and `cambio serve` refuses it (S35).
// A data folder can be moved, and started on another port. The ports of the
// providers' stand-ins are kept, and where one is taken, clouds.yaml is told.
package devworld
