// Package disk puts whole files where other programs read them: a reader sees all of the
// old content or all of the new, with the mode and the owner that were asked for and
// never with more. It reads back what it put there, and the keys among it.
package disk
