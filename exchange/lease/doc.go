// Package lease looks after what was handed out, and after what nobody knows the
// outcome of: the reaper ends intents that were left open.
package lease
