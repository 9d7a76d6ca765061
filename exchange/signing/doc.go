// Package signing holds signing sessions (S25): what signs is made by a driver, kept
// here sealed, and used for whoever shows both the session's token and a fresh token
// of their own, as long as the session's lease stands.
package signing
