// Package listen binds the addresses of an agent and serves handlers there, which a
// reload exchanges while requests are under way.
package listen
