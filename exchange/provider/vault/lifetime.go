package vault

import (
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// transit is how much less than what is left is asked for: Vault counts from when it
// gets to it, and the caps count from now.
const transit = 2 * time.Second

// fits refuses what no call could serve.
func (c *core) fits(g *exchange.Grant) error {
	if len(g.Scopes) > 0 {
		return exchange.Fault(exchange.KindInvalidScope, "this target has no scopes: the policies of its Vault role fix what it may do", nil)
	}
	if c.wish(g, c.now()) < time.Second {
		return exchange.Fault(exchange.KindInvalidLifetime, "there is no life left to give: bring a token that lives longer", nil)
	}
	return nil
}

// wish is how long a credential should live, in whole seconds: as was asked, within
// the caps and the target's own limit.
func (c *core) wish(g *exchange.Grant, now time.Time) time.Duration {
	room := g.NotAfter.Sub(now)
	lives := room - min(transit, room/4)
	if g.Lifetime > 0 {
		lives = min(lives, g.Lifetime)
	}
	if c.settings.TTL > 0 {
		lives = min(lives, c.settings.TTL)
	}
	return lives.Truncate(time.Second)
}

// within holds S5: what Vault would not shorten is taken back, unless the target says
// that it may outlive.
func (c *core) within(g *exchange.Grant, ends time.Time) error {
	if !ends.After(g.NotAfter) || c.settings.MayOutlive {
		return nil
	}
	return exchange.Fault(exchange.KindInvalidLifetime,
		fmt.Sprintf("the engine gives no less than %s: ask for as much, with a token that lives as long, or have the operator set ttl_parameter or may_outlive",
			ends.Sub(g.Now).Round(time.Second)), nil)
}

// maxHandle bounds a handle in bytes, as the house does.
const maxHandle = 256

// handle is the name by which Vault's audit log has what was handed out.
func handle(name string, g *exchange.Grant) string {
	if name == "" || len(name) > maxHandle {
		return g.Exchange.String()
	}
	return name
}
