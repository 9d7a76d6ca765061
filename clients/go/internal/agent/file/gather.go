package file

import (
	"context"
	"errors"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// gathering is the credentials of one writing of one entry.
type gathering struct {
	ctx     context.Context
	targets *target.Targets
	now     func() time.Time

	taken   map[string]*cambio.Credential // by target
	used    []use
	secrets []string
	stale   error // why something is not as fresh as it should be
}

// use is a credential, and where the next comes from.
type use struct {
	source     *cambio.TokenSource
	credential *cambio.Credential
}

func newGathering(ctx context.Context, d *Deps) *gathering {
	return &gathering{ctx: ctx, targets: d.Targets, now: d.Now, taken: map[string]*cambio.Credential{}}
}

// take is the credential of a target, the same each time.
func (g *gathering) take(name string) (*cambio.Credential, error) {
	if c, ok := g.taken[name]; ok {
		return c, nil
	}
	source, err := g.targets.Source(name)
	if err != nil {
		return nil, err
	}
	c, err := g.from(source)
	if err != nil {
		return nil, err
	}
	g.taken[name] = c
	return c, nil
}

// from is what a source has, renewed if it is time. What is good yet is taken where the
// renewal fails.
func (g *gathering) from(source *cambio.TokenSource) (*cambio.Credential, error) {
	now := g.now()
	c, _ := source.Held()
	var err error
	switch {
	case c == nil || !now.Before(c.Expires):
		if c, err = source.Credential(g.ctx); err != nil {
			return nil, err
		}
	case !now.Before(c.Refresh):
		// Credential would give the old one, and renew behind our back.
		renewed, err := source.Renew(g.ctx, c.Value)
		if err == nil {
			c = renewed
		} else {
			g.stale = errors.Join(g.stale, err)
		}
	}
	if !g.now().Before(c.Expires) {
		return nil, errors.New("the server gave a credential that has ended already: raise the lifetime")
	}
	g.used = append(g.used, use{source, c})
	g.secrets = append(g.secrets, secretsOf(c.Value.Reveal())...)
	return c, nil
}

// secret is a further text that no log must have.
func (g *gathering) secret(text string) { g.secrets = append(g.secrets, text) }

// expires and refresh are the first of those that were used.
func (g *gathering) expires() time.Time {
	return first(g.used, func(c *cambio.Credential) time.Time { return c.Expires })
}

func (g *gathering) refresh() time.Time {
	return first(g.used, func(c *cambio.Credential) time.Time { return c.Refresh })
}

func first(used []use, of func(*cambio.Credential) time.Time) time.Time {
	var at time.Time
	for _, u := range used {
		if t := of(u.credential); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}
