//go:build !race

package main

// crowd is how many callers come at once.
const crowd = 10_000
