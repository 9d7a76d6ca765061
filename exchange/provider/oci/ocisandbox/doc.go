// Package ocisandbox stands in for Oracle Cloud Infrastructure: an identity domain
// that exchanges our assertions, and behind it Generative AI and an Object Storage
// that take requests signed under what it issued, and answer who signed.
//
// The signatures are verified from the specification (draft-cavage-http-signatures,
// "Request Signatures" in Oracle's documentation) and not by Oracle's SDK, so that
// the two are each other's judges.
package ocisandbox
