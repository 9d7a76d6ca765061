package policy

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// clientServes finds the targets whose resources a client is the server of. Tokens
// of ours for them may come back from then on (S7), so the targets say so, and are
// no longer the targets that they were: what was vended before cannot come back.
func (c *compiler) clientServes(n named, resources []string) []string {
	at := find(n.value, "serves")
	if at != n.value && len(resources) == 0 {
		n.fault(at, "name the resources that this client is the server of, or leave serves out")
	}
	seen := map[string]bool{}
	for i, resource := range resources {
		item := at
		if list, ok := at.(*ast.SequenceNode); ok && i < len(list.Values) {
			item = list.Values[i]
		}
		target := c.revision.resources[resource]
		switch {
		case seen[resource]:
			n.fault(item, "the resource %q stands here twice", resource)
		case target == nil:
			n.fault(item, "no target has the resource %q: %s", resource, didYouMean(resource, c.ownResources()))
		case !target.Own:
			n.fault(item, "the credentials of target %q are not tokens of ours, so there is nothing to serve: %s", target.Name, didYouMean("", c.ownResources()))
		case !target.Returns:
			target.Returns = true
			target.Hash = hashOf(struct {
				Target  [32]byte
				Returns bool
			}{target.Hash, true})
		}
		seen[resource] = true
	}
	return resources
}

// ownResources are the resources whose tokens are ours.
func (c *compiler) ownResources() []string {
	own := map[string]*exchange.Target{}
	for resource, target := range c.revision.resources {
		if target.Own {
			own[resource] = target
		}
	}
	return keys(own)
}
