package ledger

import "github.com/cambio-sts/cambio/exchange"

// Deeds are the types of event that belong to no exchange: what operators and
// auditors did, and what the house did with policy and keys.
func Deeds() []exchange.EventType {
	return []exchange.EventType{
		exchange.EventDenyAdded, exchange.EventDenyRemoved, exchange.EventPolicyLoaded, exchange.EventQueried,
		exchange.EventApproved, exchange.EventKeysChanged,
	}
}

// DeedQuery selects a page of deeds.
type DeedQuery struct {
	Tenant string
	Types  []exchange.EventType // of Deeds; none: all of them
	Limit  int                  // 1 to MaxPage
	After  Cursor               // where the page before ended; empty: the newest
}
