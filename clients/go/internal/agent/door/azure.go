package door

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	azurePath = "/azure/token"
	// azureVersion is that of the managed identity endpoint of App Service.
	azureVersion = "2019-08-01"
)

// azureDoor is the managed identity endpoint of App Service (Microsoft Learn, "Use
// managed identities for App Service", REST endpoint reference).
func (r *Room) azureDoor(s *Azure) (*door, error) {
	var names []string
	if s.Target != "" {
		names = append(names, s.Target)
	}
	byResource := map[string]string{}
	for resource, name := range s.Targets {
		byResource[plainResource(resource)] = name
		names = append(names, name)
	}
	sources, err := r.sources(names)
	if err != nil {
		return nil, err
	}
	find := func(resource string) (*cambio.TokenSource, bool) {
		if s.Target != "" {
			return sources[s.Target], true
		}
		source, ok := sources[byResource[plainResource(resource)]]
		return source, ok
	}
	return &door{
		name: "azure", method: http.MethodGet,
		owns: func(path string) bool { return path == azurePath },
		admit: func(req *http.Request) error {
			if !r.holds(req.Header["X-Identity-Header"]) {
				return unauthorized
			}
			return nil
		},
		serve: func(w http.ResponseWriter, req *http.Request) error {
			query, err := parseForm(req.URL.RawQuery)
			switch {
			case err != nil:
				return err
			case query.Get("api-version") != azureVersion:
				return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "the api-version is " + azureVersion}
			case query.Get("resource") == "":
				return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "name a resource"}
			case s.ClientID != "" && foreignIdentity(query, s.ClientID):
				return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "there is no such user-assigned identity at this door"}
			}
			source, ok := find(query.Get("resource"))
			if !ok {
				return &refusal{status: http.StatusBadRequest, code: "invalid_resource", text: "no target is for this resource: list it in doors.azure.targets"}
			}
			c, err := r.bearer(req.Context(), source)
			if err != nil {
				return err
			}
			answer := map[string]string{
				"access_token": c.Value.Reveal(), "expires_on": strconv.FormatInt(r.end(c).Unix(), 10),
				"resource": query.Get("resource"), "token_type": "Bearer",
			}
			if id := query.Get("client_id"); id != "" {
				answer["client_id"] = id
			}
			answerJSON(w, http.StatusOK, answer)
			return nil
		},
		refuse: func(w http.ResponseWriter, f *refusal) {
			answerJSON(w, f.status, map[string]any{"statusCode": f.status, "message": f.text})
		},
	}, nil
}

// foreignIdentity reports whether another identity is asked for than the one there is.
func foreignIdentity(query url.Values, clientID string) bool {
	for _, name := range []string{"client_id", "principal_id", "object_id", "mi_res_id", "msi_res_id"} {
		if query.Has(name) && (name != "client_id" || query.Get(name) != clientID) {
			return true
		}
	}
	return false
}

// plainResource is a resource without what scopes have at their end.
func plainResource(resource string) string {
	return strings.TrimRight(strings.TrimSuffix(resource, "/.default"), "/")
}
