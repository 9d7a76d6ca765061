package door

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
)

const (
	gceRoot     = "/computeMetadata/v1/"
	gceAccounts = "instance/service-accounts/"
	// maxScopeSets bounds how many different sets of scopes are served.
	maxScopeSets = 64
	// cloudPlatform is the scope that is told where the settings name none.
	cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
)

// gce is the metadata server of Compute Engine, as far as SDKs ask it (Google Cloud
// documentation, "About VM metadata" and "Authenticate workloads to Google Cloud APIs").
type gce struct {
	room       *Room
	settings   *GCE
	source     *cambio.TokenSource
	request    cambio.Request
	identities map[string]*cambio.TokenSource

	mu     sync.Mutex
	scoped map[string]*cambio.TokenSource // by the scopes, in order
}

func (r *Room) gceDoor(s *GCE) (*door, error) {
	if err := listen.PeersKnown(); err != nil {
		return nil, fmt.Errorf("gce: %w: remove this door, and use external_account credentials (GOOGLE_APPLICATION_CREDENTIALS)", err)
	}
	names := []string{s.Target}
	for _, name := range s.Identities {
		names = append(names, name)
	}
	sources, err := r.sources(names)
	if err != nil {
		return nil, err
	}
	request, err := r.targets.Request(s.Target)
	if err != nil {
		return nil, err
	}
	g := &gce{
		room: r, settings: s, source: sources[s.Target], request: request,
		identities: map[string]*cambio.TokenSource{}, scoped: map[string]*cambio.TokenSource{},
	}
	for audience, name := range s.Identities {
		g.identities[audience] = sources[name]
	}
	return &door{
		name: "gce", method: http.MethodGet, names: []string{"metadata.google.internal", "metadata"},
		owns:  func(path string) bool { return path == "/" || strings.HasPrefix(path, "/computeMetadata/") },
		admit: g.admit, serve: g.serve, refuse: g.refuse,
	}, nil
}

// admit asks for the header that no page can send, refuses what was passed on by
// somebody, as Google's server does, and looks who it is.
func (g *gce) admit(r *http.Request) error {
	switch {
	case !slices.Equal(r.Header["Metadata-Flavor"], []string{"Google"}):
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "the header Metadata-Flavor: Google is missing"}
	case len(r.Header["X-Forwarded-For"]) > 0:
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "nothing that was forwarded is answered here"}
	}
	uid, err := listen.PeerUID(listen.Conn(r.Context()))
	if err != nil {
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "whose process asks cannot be told: " + err.Error()}
	}
	if !slices.Contains(g.settings.UIDs, uid) {
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: fmt.Sprintf("uid %d is not among those that may ask: list it in doors.gce.uids", uid)}
	}
	return nil
}

func (g *gce) serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, gceRoot), "/")
	if account, ok := strings.CutPrefix(path, gceAccounts); ok {
		return g.account(w, r, account)
	}
	switch {
	case r.URL.Path == "/":
		return g.text(w, "computeMetadata/\n")
	case r.URL.Path == gceRoot:
		return g.text(w, "instance/\nproject/\nuniverse/\n")
	case path == strings.TrimSuffix(gceAccounts, "/"):
		return g.text(w, "default/\n"+g.email()+"/\n")
	case path == "project/project-id":
		return g.text(w, g.settings.Project)
	case path == "project/numeric-project-id" && g.settings.ProjectNumber != "":
		return g.text(w, g.settings.ProjectNumber)
	case path == "universe/universe-domain", path == "universe/universe_domain":
		return g.text(w, "googleapis.com")
	}
	return notFound
}

// account answers below one service account.
func (g *gce) account(w http.ResponseWriter, r *http.Request, path string) error {
	name, what, _ := strings.Cut(path, "/")
	if name != "default" && name != g.email() {
		return notFound
	}
	query, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return err
	}
	switch what {
	case "":
		if query.Get("recursive") != "true" {
			return g.text(w, "aliases\nemail\nidentity\nscopes\ntoken\n")
		}
		g.mark(w)
		answerJSON(w, http.StatusOK, map[string]any{"aliases": []string{"default"}, "email": g.email(), "scopes": g.scopes()})
		return nil
	case "aliases":
		return g.text(w, "default")
	case "email":
		return g.text(w, g.email())
	case "scopes":
		return g.text(w, strings.Join(g.scopes(), "\n")+"\n")
	case "token":
		return g.token(w, r, query.Get("scopes"))
	case "identity":
		return g.identity(w, r, query.Get("audience"))
	}
	return notFound
}

func (g *gce) token(w http.ResponseWriter, r *http.Request, scopes string) error {
	source, err := g.scopedSource(scopes)
	if err != nil {
		return err
	}
	c, err := g.room.bearer(r.Context(), source)
	if err != nil {
		return err
	}
	g.mark(w)
	answerJSON(w, http.StatusOK, map[string]any{
		"access_token": c.Value.Reveal(), "expires_in": g.room.lifetime(c), "token_type": "Bearer",
	})
	return nil
}

// scopedSource is the source of the scopes asked for, between commas. Where an SDK may
// not choose it gets what the target gives: SDKs ask for what their API would take, and
// know nothing of what a policy grants.
func (g *gce) scopedSource(asked string) (*cambio.TokenSource, error) {
	if asked == "" || len(g.settings.Scopes) == 0 {
		return g.source, nil
	}
	scopes := strings.FieldsFunc(asked, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	for _, scope := range scopes {
		if !slices.Contains(g.settings.Scopes, scope) {
			return nil, &refusal{status: http.StatusForbidden, code: "invalid_scope", text: "a scope is not among those of doors.gce.scopes"}
		}
	}
	key := strings.Join(scopes, " ")
	g.mu.Lock()
	defer g.mu.Unlock()
	source, ok := g.scoped[key]
	if !ok {
		if len(g.scoped) >= maxScopeSets {
			return nil, &refusal{status: http.StatusForbidden, code: "invalid_scope", text: fmt.Sprintf("more than %d different sets of scopes are asked for", maxScopeSets)}
		}
		request := g.request
		request.Scopes = scopes
		source = g.room.targets.Client().NewTokenSource(request)
		g.scoped[key] = source
	}
	return source, nil
}

// identity gives an ID token, where a target does.
func (g *gce) identity(w http.ResponseWriter, r *http.Request, audience string) error {
	source, ok := g.identities[audience]
	if !ok {
		return &refusal{status: http.StatusNotFound, code: "not_found", text: "no target gives ID tokens for this audience: list it in doors.gce.identities"}
	}
	c, err := source.Best(r.Context(), tokenLeft)
	if err != nil {
		return err
	}
	if c.IssuedTokenType != cambio.TokenTypeIDToken && c.IssuedTokenType != cambio.TokenTypeJWT {
		return &refusal{status: http.StatusForbidden, code: "wrong_target", text: "the target gives " + c.IssuedTokenType + " and no ID token: set `token: id_token` there"}
	}
	return g.text(w, c.Value.Reveal())
}

func (g *gce) email() string {
	if g.settings.ServiceAccount == "" {
		return "default"
	}
	return g.settings.ServiceAccount
}

func (g *gce) scopes() []string {
	if len(g.settings.Scopes) > 0 {
		return g.settings.Scopes
	}
	if len(g.request.Scopes) > 0 {
		return g.request.Scopes
	}
	return []string{cloudPlatform}
}

// mark sets what SDKs know the metadata server by.
func (g *gce) mark(w http.ResponseWriter) { w.Header().Set("Metadata-Flavor", "Google") }

func (g *gce) text(w http.ResponseWriter, text string) error {
	g.mark(w)
	w.Header().Set("Content-Type", "application/text")
	_, _ = io.WriteString(w, text)
	return nil
}

func (g *gce) refuse(w http.ResponseWriter, f *refusal) {
	g.mark(w)
	plainly(w, f)
}
