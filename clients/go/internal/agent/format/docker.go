package format

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Sentences that docker knows helpers by: a registry without credentials is asked without
// any, whatever else is said is an error (docker-credential-helpers, package credentials).
var (
	errNotFound    = errors.New("credentials not found in native keychain")
	errNoServerURL = errors.New("no credentials server URL")
)

// Docker answers one call of a docker credential helper. What it returns goes to stdout
// even with an error, and then is the error: docker reads both there, and tells them
// apart by the exit status, which must not be zero. Nothing is stored, so `store` is
// refused, and `erase` has nothing to do. Places with a path are git's.
func Docker(ctx context.Context, action string, stdin io.Reader, places []Place, get Get) ([]byte, error) {
	out, err := docker(ctx, action, stdin, places, get)
	if err != nil {
		return []byte(err.Error() + "\n"), err
	}
	return out, nil
}

func docker(ctx context.Context, action string, stdin io.Reader, places []Place, get Get) ([]byte, error) {
	switch action {
	case "get":
	case "list":
		return dockerList(places)
	case "erase":
		_, err := request(stdin)
		return nil, err
	case "store":
		return nil, errors.New("nothing is stored here: each login is asked of the Cambio server when it is needed, so `docker login` is not")
	default:
		return nil, fmt.Errorf("no action is called %q: docker calls get, store, erase and list", cut(action))
	}
	text, err := request(stdin)
	if err != nil {
		return nil, err
	}
	server := strings.TrimSpace(string(text))
	if server == "" {
		return nil, errNoServerURL
	}
	place := dockerPlace(server, places)
	if place == nil {
		return nil, errNotFound
	}
	credential, err := get(ctx, place.Target)
	if err != nil {
		return nil, err
	}
	user, password, err := place.login(credential, "", "oauth2accesstoken")
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(struct{ ServerURL, Username, Secret string }{server, user, password})
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return append(out, '\n'), nil
}

// dockerPlace is the place of a registry, which docker names with or without a scheme.
func dockerPlace(server string, places []Place) *Place {
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.User != nil || !safe(u.Scheme, u.Host) {
		return nil
	}
	for i := range places {
		if places[i].Path == "" && sameHost(hub(places[i].Host), hub(u.Host)) {
			return &places[i]
		}
	}
	return nil
}

// hub is the name by which docker asks for Docker Hub.
func hub(host string) string {
	if strings.EqualFold(host, "docker.io") {
		return "index.docker.io"
	}
	return host
}

func dockerList(places []Place) ([]byte, error) {
	list := map[string]string{}
	for _, p := range places {
		name, user := hub(p.Host), p.Username
		if name == "index.docker.io" {
			name = "https://index.docker.io/v1/"
		}
		if user == "" {
			user = "oauth2accesstoken"
		}
		if _, ok := list[name]; !ok && p.Path == "" {
			list[name] = user
		}
	}
	return lineOfJSON(list)
}
