package subject

import (
	"cmp"
	"slices"
	"time"
)

// Status is how one trust stands, for operators.
type Status struct {
	Tenant, Trust string
	Keys          int       // usable keys at hand
	Fetched       time.Time // when they were last seen to be so; zero: never
	Err           error     // why the newest fetch failed; nil: it did not
	Shares        []string  // trusts of the same issuer that hold one of its keys: all of them are off (S6)
}

// Status lists every trust, by tenant and name.
func (v *Verifier) Status() []Status {
	loaded := v.table.Load()
	var out []Status
	for name, t := range loaded.byName {
		s := Status{Tenant: name.tenant, Trust: name.name}
		if t.source == nil { // sessions that are asked about
			out = append(out, s)
			continue
		}
		if h := t.source.held.Load(); h != nil {
			s.Keys, s.Fetched = len(h.keys.all), h.at
			for _, other := range loaded.groupOf(t).trusts {
				if o := other.source.held.Load(); other != t && o != nil && overlap(h.keys, o.keys) {
					s.Shares = append(s.Shares, other.Name)
				}
			}
		}
		t.source.mu.Lock()
		s.Err = t.source.failed
		t.source.mu.Unlock()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Trust, b.Trust))
	})
	return out
}
