package policy

import (
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// denies is a deny list prepared for Decide. Nil denies nothing.
type denies struct {
	epoch int64
	list  []exchange.Deny
	// by finds the denies that could hold by one exact member of theirs; rest are
	// those without such a member, looked at each time.
	by   map[member][]int
	rest []int
	// credentials says that some deny names a credential.
	credentials bool
}

// member is one name and value of a deny's Match.
type member struct{ name, value string }

// findable are the members by which a deny is found, the most selective first.
var findable = [...]string{"credential", "lineage", "subject", "actor", "rule", "target", "trust"}

func newDenies(tenant string, l exchange.DenyList) *denies {
	d := &denies{epoch: l.Epoch, by: map[member][]int{}}
	for _, deny := range l.Denies {
		if deny.Tenant != tenant {
			continue // of another tenant's list; nothing of ours (S22)
		}
		i := len(d.list)
		d.list = append(d.list, deny)
		filed := false
		for _, name := range findable {
			if value, ok := deny.Match[name]; ok {
				d.by[member{name, value}] = append(d.by[member{name, value}], i)
				filed = true
				d.credentials = d.credentials || name == "credential"
				break
			}
		}
		if !filed {
			d.rest = append(d.rest, i)
		}
	}
	return d
}

// match finds an emergency deny that holds for the question (S31); picked is the
// rule that would allow, nil where none does.
func (d *denies) match(q *exchange.Question, target string, picked *rule) *exchange.Deny {
	if d == nil || len(d.list) == 0 {
		return nil
	}
	look := func(indexes []int) *exchange.Deny {
		for _, i := range indexes {
			if e := &d.list[i]; active(e, q.Now) && holds(e, q, target, picked) {
				return e
			}
		}
		return nil
	}
	if e := look(d.rest); e != nil {
		return e
	}
	if own := q.Subject.Own; own != nil {
		for _, lease := range own.Lineage {
			if e := look(d.by[member{"lineage", lease.String()}]); e != nil {
				return e
			}
		}
	}
	if e := look(d.by[member{"subject", q.Subject.Name}]); e != nil {
		return e
	}
	if e := look(d.by[member{"target", target}]); e != nil {
		return e
	}
	if e := look(d.by[member{"trust", q.Subject.Trust}]); e != nil {
		return e
	}
	if picked != nil {
		if e := look(d.by[member{"rule", picked.name}]); e != nil {
			return e
		}
	}
	for _, chain := range [2][]exchange.Actor{q.Actors, q.Subject.Asserted} {
		for i := range chain {
			if e := look(d.by[member{"actor", chain[i].Name}]); e != nil {
				return e
			}
			if e := look(d.by[member{"trust", chain[i].Trust}]); e != nil {
				return e
			}
		}
	}
	return nil
}

// matchCredential finds a deny that names the credential and holds for the question
// as it was decided.
func (d *denies) matchCredential(q *exchange.Question, decided *exchange.Decision, fingerprint string) bool {
	target := ""
	if decided.Target != nil {
		target = decided.Target.Name
	}
	picked := &rule{name: decided.Rule}
	for _, i := range d.by[member{"credential", fingerprint}] {
		e := &d.list[i]
		whole := active(e, q.Now)
		for name, value := range e.Match {
			whole = whole && (name == "credential" || memberHolds(name, value, q, target, picked))
		}
		if whole {
			return true
		}
	}
	return false
}

func active(d *exchange.Deny, now time.Time) bool {
	return d.Expires.IsZero() || now.Before(d.Expires)
}

// holds reports whether every member of a deny holds. A deny without members stops
// everything.
func holds(d *exchange.Deny, q *exchange.Question, target string, picked *rule) bool {
	for name, value := range d.Match {
		if !memberHolds(name, value, q, target, picked) {
			return false
		}
	}
	return true
}

func memberHolds(name, value string, q *exchange.Question, target string, picked *rule) bool {
	switch name {
	case "subject":
		return q.Subject.Name == value
	case "trust":
		return q.Subject.Trust == value || anyActor(q, func(a *exchange.Actor) bool { return a.Trust == value })
	case "actor": // a deny looks at asserted actors too: it must not be escaped by proving less
		return anyActor(q, func(a *exchange.Actor) bool { return a.Name == value })
	case "target":
		return target == value
	case "rule":
		return picked != nil && picked.name == value
	case "credential":
		// It names one credential that is out already, which no new decision is
		// about. Whoever hands out kept credentials looks at it there.
		return false
	case "lineage":
		own := q.Subject.Own
		return own != nil && slices.ContainsFunc(own.Lineage, func(lease exchange.ID) bool { return lease.String() == value })
	default: // what is not known is taken to hold (S31)
		return true
	}
}

func anyActor(q *exchange.Question, is func(*exchange.Actor) bool) bool {
	for i := range q.Actors {
		if is(&q.Actors[i]) {
			return true
		}
	}
	for i := range q.Subject.Asserted {
		if is(&q.Subject.Asserted[i]) {
			return true
		}
	}
	return false
}
