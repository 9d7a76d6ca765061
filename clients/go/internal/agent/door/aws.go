package door

import (
	"net/http"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/aws"
)

const awsPath = "/aws/"

// awsDoor gives container credentials (AWS SDKs and Tools Reference Guide, "Container
// credential provider"): the SDK sends the secret as it is, without a scheme.
func (r *Room) awsDoor(s *AWS) (*door, error) {
	sources, err := r.sources(append([]string{s.Target}, s.Targets...))
	if err != nil {
		return nil, err
	}
	return &door{
		name: "aws", method: http.MethodGet,
		owns: func(path string) bool { return strings.HasPrefix(path, awsPath) },
		admit: func(req *http.Request) error {
			if !r.holds(req.Header["Authorization"]) {
				return unauthorized
			}
			return nil
		},
		serve: func(w http.ResponseWriter, req *http.Request) error {
			source, ok := sources[strings.TrimPrefix(req.URL.Path, awsPath)]
			if !ok {
				return notFound
			}
			c, err := source.Best(req.Context(), awsLeft)
			if err != nil {
				return err
			}
			credentials, err := aws.Read(c)
			if err != nil {
				return &refusal{status: http.StatusForbidden, code: "wrong_target", text: err.Error()}
			}
			answerJSON(w, http.StatusOK, map[string]string{
				"AccessKeyId": credentials.AccessKeyID, "SecretAccessKey": credentials.SecretAccessKey,
				"Token": credentials.SessionToken, "Expiration": r.end(c).Format(time.RFC3339),
			})
			return nil
		},
		refuse: func(w http.ResponseWriter, f *refusal) {
			answerJSON(w, f.status, map[string]string{"code": f.code, "message": f.text})
		},
	}, nil
}

// notFound is for callers who may know.
var notFound = &refusal{status: http.StatusNotFound, code: "not_found", text: "there is no such target at this door"}

// holds reports whether a header is the secret, once and whole.
func (r *Room) holds(values []string) bool {
	return len(values) == 1 && r.secret.Equal(cambio.NewSecret(values[0]))
}
