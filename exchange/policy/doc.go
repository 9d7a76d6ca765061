// Package policy reads what may be exchanged, compiles it once and then decides.
//
// A policy is a folder of YAML files: trusts, targets, allow and deny rules, and
// roles. Load turns the folder into a Revision, or into the list of every fault
// in it. A Revision is immutable and its Decide is a pure function, so that the
// same question gets the same answer on every replica, today and when an auditor
// asks again.
//
// A Set holds the revision in force together with the emergency denies, and knows
// when this replica has fallen behind the others. A Watcher loads a changed folder
// and keeps the old revision when the new one has a fault.
package policy
