//go:build !linux

package exec

// reapOrphans is for the first process of a container.
func reapOrphans() (stop func()) { return func() {} }
