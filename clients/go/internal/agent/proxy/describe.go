package proxy

// Description is one route for who looks at the agent's state. It holds no secret.
type Description struct {
	Route    string `json:"route"`
	At       string `json:"at"` // prefix, or host
	Upstream string `json:"upstream"`
	Target   string `json:"target"`
	UnderWay int    `json:"under_way"` // requests
	Users    int    `json:"users,omitempty"`
}

// Describe lists the routes, in the order in which they are tried.
func (r *Room) Describe() any {
	list := []Description{}
	for _, t := range r.routes {
		d := Description{Route: t.name, At: t.prefixText(), Upstream: t.upstream.String(), Target: t.target, UnderWay: len(t.slots)}
		switch {
		case t.host != "":
			d.At = t.host
		case d.At == "":
			d.At = "/"
		}
		if t.persons != nil {
			d.Users = t.persons.len()
		} else if t.users != nil {
			d.Users = t.users.len()
		}
		list = append(list, d)
	}
	return list
}
