package exchange

import "time"

// EventType says what happened. The numbers are stored: they never change.
type EventType int16

// The types of event. 2 to 5 are the terminal outcomes, one of which each
// exchange has (S27).
const (
	EventIntent       EventType = 1
	EventIssued       EventType = 2
	EventDenied       EventType = 3
	EventFailed       EventType = 4
	EventUnknown      EventType = 5
	EventRenewed      EventType = 6
	EventRevoked      EventType = 7
	EventExpired      EventType = 8
	EventSigned       EventType = 9
	EventDenyAdded    EventType = 10
	EventDenyRemoved  EventType = 11
	EventPolicyLoaded EventType = 12
	EventQueried      EventType = 13
	EventApproved     EventType = 14
	EventKeysChanged  EventType = 15
)

var eventNames = map[EventType]string{
	EventIntent: "intent", EventIssued: "issued", EventDenied: "denied", EventFailed: "failed",
	EventUnknown: "unknown", EventRenewed: "renewed", EventRevoked: "revoked", EventExpired: "expired",
	EventSigned: "signed", EventDenyAdded: "deny_added", EventDenyRemoved: "deny_removed",
	EventPolicyLoaded: "policy_loaded", EventQueried: "queried", EventApproved: "approved",
	EventKeysChanged: "keys_changed",
}

// String is the name in the record, lower case.
func (t EventType) String() string { return eventNames[t] }

// Terminal reports whether the type ends an exchange.
func (t EventType) Terminal() bool { return t >= EventIssued && t <= EventUnknown }

// Event is one append to the ledger.
type Event struct {
	ID       ID
	Exchange ID // the event's own id where there is no exchange
	Tenant   string
	Type     EventType
	At       time.Time
	Record   Record
}

// Record is what an event says, as JSON with members in this order. An outcome
// repeats the whole exchange, so that one row answers an auditor. Nothing secret
// is ever put in; text from outside is bounded and made storable by the ledger
// (S28).
type Record struct {
	Exchange string `json:"exchange"`
	Type     string `json:"type"`
	At       string `json:"at"` // RFC 3339 with microseconds, UTC
	Tenant   string `json:"tenant"`

	Subject       string     `json:"subject,omitempty"`
	Trust         string     `json:"trust,omitempty"`
	Actor         string     `json:"actor,omitempty"`  // the outermost
	Actors        []string   `json:"actors,omitempty"` // outermost first
	Asserted      []string   `json:"asserted,omitempty"`
	Client        string     `json:"client,omitempty"`
	Target        string     `json:"target,omitempty"`
	Provider      string     `json:"provider,omitempty"`
	Door          string     `json:"door,omitempty"`
	GrantType     string     `json:"grant_type,omitempty"`
	TokenType     string     `json:"token_type,omitempty"`
	AskedTargets  []string   `json:"asked_targets,omitempty"`
	AskedScopes   []string   `json:"asked_scopes,omitempty"`
	Scopes        []string   `json:"scopes,omitempty"`
	AskedLifetime int64      `json:"asked_lifetime_s,omitempty"`
	Lifetime      int64      `json:"lifetime_s,omitempty"`
	Expires       string     `json:"expires,omitempty"`
	Excess        int64      `json:"excess_s,omitempty"` // past the caps, where the target may outlive (S5)
	Rule          string     `json:"rule,omitempty"`
	Revision      string     `json:"revision,omitempty"`
	Epoch         int64      `json:"epoch,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	Outcome       string     `json:"outcome,omitempty"`
	ErrorKind     string     `json:"error_kind,omitempty"`
	Explanation   string     `json:"explanation,omitempty"`
	Credential    string     `json:"credential,omitempty"` // keyed hash of the value
	Handle        string     `json:"handle,omitempty"`
	Lease         string     `json:"lease,omitempty"`
	Lineage       []string   `json:"lineage,omitempty"` // leases of the tokens it descends from, oldest first
	Reused        bool       `json:"reused,omitempty"`  // served from the credential cache
	ClientIP      string     `json:"client_ip,omitempty"`
	UserAgent     string     `json:"user_agent,omitempty"`
	TraceID       string     `json:"trace_id,omitempty"`
	TokenID       string     `json:"token_id,omitempty"` // `jti` of the subject token
	KeyID         string     `json:"key_id,omitempty"`
	Claims        Attributes `json:"claims,omitempty"`
	Durations     *Durations `json:"durations_us,omitempty"`
}

// Durations are the steps of an exchange in microseconds, up to the outcome's own
// write, which cannot know itself.
type Durations struct {
	Verify int64 `json:"verify"`
	Decide int64 `json:"decide"`
	Intend int64 `json:"intend,omitempty"`
	Vend   int64 `json:"vend,omitempty"`
}

// Intent is written before anything is asked of a provider outside.
type Intent struct {
	Event    Event
	Deadline time.Time // by which the outcome is expected
	Epoch    int64     // of the denies that the decision looked at
	Once     *Once
	// Relies are leases that must stand when the intent is written, each once.
	Relies []ID
}

// Outcome is the terminal event of an exchange, with what must become durable
// together with it.
type Outcome struct {
	Event Event
	Epoch int64 // of the denies that the decision looked at; unused for what is not issued
	Lease *Lease
	Once  *Once
	// Relies are leases that must stand when the outcome is written, each once: of the
	// tokens of ours that the exchange descends from, and of a credential that was at
	// hand.
	Relies []ID
}
