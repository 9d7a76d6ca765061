package run

import (
	"maps"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
)

// Report is the state of the agent at this moment.
func (a *Agent) Report() status.Report {
	now := time.Now()
	r := status.Report{Version: a.o.Version, Time: now.UTC(), Started: a.started.UTC()}
	g := a.current.Load()
	if g == nil {
		r.Waiting = []string{"the agent starts"}
		return r
	}
	r.Server = g.client.URL()
	r.Config = status.Config{File: a.o.File, Loaded: g.loaded.UTC()}
	if fault := a.fault.Load(); fault != nil {
		r.Config.Fault = *fault
	}
	bound := a.set.Bound()
	r.Targets = status.Of(g.rooms.Targets, now)
	r.Doors = g.rooms.doors(bound)
	r.Files = g.rooms.files()
	r.Routes = g.rooms.routes(bound)
	r.Waiting = status.Lacking(r.Targets)
	for _, f := range r.Files {
		if f.Written.IsZero() {
			line := "file " + f.Path + ": not written yet"
			if f.Fault != "" {
				line = "file " + f.Path + ": " + f.Fault
			}
			r.Waiting = append(r.Waiting, line)
		}
	}
	r.Ready = len(r.Waiting) == 0
	return r
}

// doors are those that stand open, by name.
func (r *Rooms) doors(bound map[string]string) []status.Door {
	s := r.Config.Doors
	shared := s.Listen
	if shared == "" {
		shared = door.DefaultListen
	}
	var list []status.Door
	add := func(name, address, fallback string, targets ...string) {
		if address == "" {
			address = fallback
		}
		if real, ok := bound[address]; ok {
			address = real
		}
		targets = slices.DeleteFunc(targets, func(t string) bool { return t == "" })
		slices.Sort(targets)
		list = append(list, status.Door{Name: name, Address: address, Targets: slices.Compact(targets)})
	}
	if d := s.AWS; d != nil {
		add("aws", "", shared, append([]string{d.Target}, d.Targets...)...)
	}
	if d := s.Azure; d != nil {
		add("azure", "", shared, append(slices.Collect(maps.Values(d.Targets)), d.Target)...)
	}
	if d := s.GCE; d != nil {
		add("gce", d.Listen, shared, append(slices.Collect(maps.Values(d.Identities)), d.Target)...)
	}
	if d := s.IBM; d != nil {
		add("ibm", "", shared, d.Target)
	}
	if d := s.OCI; d != nil && d.Files != nil {
		add("oci files", d.Files.Dir, "", d.Files.Target)
	}
	if d := s.OCI; d != nil && d.Proxymux != nil {
		add("oci proxymux", d.Proxymux.Listen, door.DefaultProxymux, d.Proxymux.Target)
	}
	if d := s.Vault; d != nil {
		add("vault", "", shared, append(slices.Collect(maps.Values(d.Paths)), d.Targets...)...)
	}
	return list
}

func (r *Rooms) files() []status.File {
	var list []status.File
	for _, f := range r.File.Status() {
		list = append(list, status.File{Path: f.Path, Targets: f.Targets, Written: f.Written, Expires: f.Expires, Fault: f.Fault})
	}
	return list
}

func (r *Rooms) routes(bound map[string]string) []status.Route {
	var list []status.Route
	address := ""
	for configured := range r.Proxy.Handlers() { // there is one listener
		if address = bound[configured]; address == "" {
			address = configured
		}
	}
	for _, route := range r.Config.Proxy.Routes {
		of := status.Route{Name: route.Name, Address: address, Upstream: route.Upstream, Target: route.Target}
		if of.Name == "" {
			of.Name = route.Provider
		}
		switch {
		case route.Host != "":
			of.Address += " as " + route.Host
		case route.Prefix != "":
			of.Address += route.Prefix
		default:
			of.Address += "/" + of.Name
		}
		if of.Upstream == "" {
			of.Upstream = route.Provider
			if route.Region != "" {
				of.Upstream += " " + route.Region
			}
		}
		list = append(list, of)
	}
	return list
}
