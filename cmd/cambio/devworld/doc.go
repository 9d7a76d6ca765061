// Package devworld is what `cambio dev` plays on one machine: a Kubernetes
// cluster with service accounts, and a company with users. Both are issuers with
// keys made on the spot and kept in the data folder, readable by its owner only.
//
// Their names end in .test, which is nobody's (RFC 6761 §6.2), so that a policy
// from here can be told from a real one, and `cambio serve` refuses it (S35).
// Nothing here depends on the port that dev listens on: a data folder can be
// moved, and started on another port.
package devworld
