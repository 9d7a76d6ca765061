// Package issuer is Cambio as an issuer, twice: one signs the access tokens that
// resources accept (RFC 9068), the other the assertions that clouds accept. The two
// share no name, no key and no key set (S1), since clouds look at neither `typ` nor
// what a token was meant for.
//
// Keys are made at first start, kept sealed, and rotated by age. Each replica reads
// them anew every minute; a key is published long before it signs and long after
// it did, and a replica that could not read them for as long as that stops
// signing.
package issuer
