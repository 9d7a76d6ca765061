package door

import (
	"net/http"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	ibmPath  = "/ibm/identity/token"
	ibmGrant = "urn:ibm:params:oauth:grant-type:cr-token"
	// maxForm bounds a form, in bytes: a token in it may have 32 KiB.
	maxForm = 64 << 10
)

// ibmDoor is the part of IAM that takes compute resource tokens (IBM Cloud API docs,
// "IAM Identity Services", POST /identity/token). The secret is the token: IBM's SDKs
// read it from a file for each request.
func (r *Room) ibmDoor(s *IBM) (*door, error) {
	sources, err := r.sources([]string{s.Target})
	if err != nil {
		return nil, err
	}
	return &door{
		name: "ibm", method: http.MethodPost, body: maxForm,
		owns: func(path string) bool { return path == ibmPath },
		admit: func(req *http.Request) error {
			form, err := readForm(req)
			if err != nil {
				return err
			}
			if !r.secret.Equal(cambio.NewSecret(form.Get("cr_token"))) {
				return unauthorized
			}
			req.PostForm = form
			return nil
		},
		serve: func(w http.ResponseWriter, req *http.Request) error {
			switch form := req.PostForm; {
			case form.Get("grant_type") != ibmGrant:
				return &refusal{status: http.StatusBadRequest, code: "BXNIM0107E", text: "the grant_type is " + ibmGrant}
			case s.ProfileID != "" && form.Get("profile_id") != s.ProfileID:
				return &refusal{status: http.StatusBadRequest, code: "BXNIM0108E", text: "there is no such profile at this door: use the profile_id of its settings"}
			}
			c, err := r.bearer(req.Context(), sources[s.Target])
			if err != nil {
				return err
			}
			answerJSON(w, http.StatusOK, map[string]any{
				"access_token": c.Value.Reveal(), "refresh_token": "not_supported", "token_type": "Bearer",
				"expires_in": r.lifetime(c), "expiration": r.end(c).Unix(), "scope": "ibm openid",
			})
			return nil
		},
		refuse: func(w http.ResponseWriter, f *refusal) {
			answerJSON(w, f.status, map[string]string{"errorCode": f.code, "errorMessage": f.text})
		},
	}, nil
}
