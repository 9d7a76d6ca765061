//go:build race

package main

// crowd is how many callers come at once: the race detector makes each some five times
// dearer, and their records must be durable within seconds all the same. `go run ./bench
// providers` sends ten thousand to the program as it is released.
const crowd = 1_000
