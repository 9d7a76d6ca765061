package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Git answers one call of a git credential helper (gitcredentials(7), git-credential(1)).
// Only `get` is answered. Nothing is stored, so there is nothing to do for `store` and
// `erase`, and other actions are passed over, as git asks of helpers. A host that is not
// among the places gets no answer and no error: git then asks its next helper.
func Git(ctx context.Context, action string, stdin io.Reader, places []Place, get Get) ([]byte, error) {
	text, err := request(stdin)
	if err != nil || action != "get" {
		return nil, err
	}
	asked, err := parseGit(text)
	if err != nil {
		return nil, err
	}
	place, err := asked.place(places)
	if place == nil || err != nil {
		return nil, err
	}
	credential, err := get(ctx, place.Target)
	if err != nil {
		return nil, err
	}
	user, password, err := place.login(credential, asked.username, "x-access-token")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "username=%s\npassword=%s\n", user, password)
	if !credential.Expires.IsZero() {
		fmt.Fprintf(&b, "password_expiry_utc=%d\n", credential.Expires.Unix())
	}
	return b.Bytes(), nil
}

// gitRequest is what git looks for.
type gitRequest struct{ protocol, host, path, username string }

// parseGit reads attributes, one a line, up to an empty line. Git writes each once; who
// writes the host twice wants it to be read in two ways.
func parseGit(text []byte) (gitRequest, error) {
	var asked gitRequest
	seen := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if line == "" {
			break
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" || strings.ContainsRune(line, 0) {
			return gitRequest{}, errors.New("git's request is not one of key=value lines")
		}
		var to *string
		switch key {
		case "protocol":
			to = &asked.protocol
		case "host":
			to = &asked.host
		case "path":
			to = &asked.path
		case "username":
			to = &asked.username
		default: // attributes of later versions
			continue
		}
		if seen[key] {
			return gitRequest{}, fmt.Errorf("git's request has %s twice", key)
		}
		seen[key], *to = true, value
	}
	if asked.protocol == "" {
		return gitRequest{}, errors.New("git's request has no protocol")
	}
	return asked, nil
}

// place is the first that fits, nil if none does.
func (r gitRequest) place(places []Place) (*Place, error) {
	if r.host == "" || !safe(r.protocol, r.host) {
		return nil, nil
	}
	path := strings.Trim(r.path, "/")
	var pathless string
	for i := range places {
		p := &places[i]
		below := strings.Trim(p.Path, "/")
		switch {
		case !sameHost(p.Host, r.host), p.Username != "" && r.username != "" && p.Username != r.username:
		case below == "":
			return p, nil
		case path == "":
			pathless = p.Host
		case plainPath(path) && within(path, below):
			return p, nil
		}
	}
	if pathless != "" {
		return nil, fmt.Errorf("the credential for %s is for some repositories only, and git does not say which it wants: git config --global credential.https://%[1]s.useHttpPath true", pathless)
	}
	return nil, nil
}

// within compares whole segments; the last may have git's suffix.
func within(path, below string) bool {
	return path == below || strings.TrimSuffix(path, ".git") == strings.TrimSuffix(below, ".git") || strings.HasPrefix(path, below+"/")
}
