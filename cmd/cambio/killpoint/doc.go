// Package killpoint proves the first promise by force: a process is killed with
// SIGKILL at each step of an exchange, and afterwards the database holds an event
// for every credential that anybody received, and an intent for everything that a
// provider minted.
//
// The points of death are ports wrapped here, in a test binary that runs itself
// again; no product code knows of them.
package killpoint
