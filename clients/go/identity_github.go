package cambio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/cambio-sts/cambio/clients/go/internal/quiet"
)

// The runner sets these for jobs with `permissions: {id-token: write}` (GitHub docs,
// "OpenID Connect reference").
const (
	githubURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	githubToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// GitHubActions asks the runner for an ID token of the job with the audience given.
func GitHubActions(audience string) Identity {
	return IdentityFunc(func(ctx context.Context) (SubjectToken, error) {
		address, bearer := os.Getenv(githubURL), os.Getenv(githubToken)
		if address == "" || bearer == "" {
			return SubjectToken{}, errors.New("the job has no ID token: give it `permissions: {id-token: write}`")
		}
		u, err := safeURL(address)
		if err != nil {
			return SubjectToken{}, fmt.Errorf("%s: %w", githubURL, err)
		}
		query := u.Query()
		query.Set("audience", audience)
		u.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return SubjectToken{}, err
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		text, err := fetch(req)
		err = quiet.Error(err, bearer)
		if err != nil {
			return SubjectToken{}, fmt.Errorf("asking the runner for an ID token: %w", err)
		}
		var answer struct {
			Value string `json:"value"`
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return SubjectToken{}, errors.New("the runner's answer is no JSON object with a value")
		}
		return newSubjectToken(answer.Value, TokenTypeJWT)
	})
}

// identityClient asks for identities. It follows no redirect: the request holds a secret.
var identityClient = &http.Client{CheckRedirect: refuseRedirect, Timeout: defaultTimeout}

func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// fetch returns the body of a 200 that an identity is asked for by, bounded.
func fetch(req *http.Request) ([]byte, error) {
	resp, err := identityClient.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which may hold a secret
		}
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	}
	return text, nil
}
