package exec_test

import (
	"slices"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/exec"
)

func TestEnvironment(t *testing.T) {
	for name, test := range map[string]struct {
		environ       []string
		set           map[string]string
		want, removed []string
	}{
		"nothing set": {[]string{"A=1", "AWS_ACCESS_KEY_ID=k", "HTTP_PROXY=http://p"}, nil, []string{"A=1", "AWS_ACCESS_KEY_ID=k", "HTTP_PROXY=http://p"}, nil},
		"aws": {
			[]string{"A=1=2", "AWS_ACCESS_KEY_ID=k", "AWS_PROFILE=p", "AWS_REGION=r", "AWS_WEB_IDENTITY_TOKEN_FILE=f", "GOOGLE_APPLICATION_CREDENTIALS=g"},
			map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "u"},
			[]string{"A=1=2", "AWS_REGION=r", "GOOGLE_APPLICATION_CREDENTIALS=g", "AWS_CONTAINER_CREDENTIALS_FULL_URI=u"},
			[]string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"},
		},
		"ours replaces":       {[]string{"IDENTITY_ENDPOINT=old", "MSI_SECRET=x"}, map[string]string{"IDENTITY_ENDPOINT": "new"}, []string{"IDENTITY_ENDPOINT=new"}, []string{"MSI_SECRET"}},
		"what rooms set":      {nil, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "u", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "f"}, []string{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=f", "AWS_CONTAINER_CREDENTIALS_FULL_URI=u"}, nil},
		"ibm, by service":     {[]string{"NLU_APIKEY=k", "WATSONX_APIKEY=k"}, map[string]string{"NLU_CR_TOKEN_FILENAME": "f"}, []string{"WATSONX_APIKEY=k", "NLU_CR_TOKEN_FILENAME=f"}, []string{"NLU_APIKEY"}},
		"past a proxy":        {[]string{"https_proxy=p", "http_proxy=p"}, map[string]string{"X": "1"}, []string{"https_proxy=p", "http_proxy=p", "X=1", "NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost"}, nil},
		"past a proxy, too":   {[]string{"HTTP_PROXY=p", "no_proxy=a.example"}, map[string]string{"X": "1"}, []string{"HTTP_PROXY=p", "X=1", "NO_PROXY=a.example,127.0.0.1,localhost", "no_proxy=a.example,127.0.0.1,localhost"}, nil},
		"it is spared":        {[]string{"HTTP_PROXY=p", "NO_PROXY=a, 127.0.0.1"}, map[string]string{"X": "1"}, []string{"HTTP_PROXY=p", "NO_PROXY=a, 127.0.0.1", "X=1"}, nil},
		"all of it is spared": {[]string{"HTTP_PROXY=p", "NO_PROXY=*"}, map[string]string{"X": "1"}, []string{"HTTP_PROXY=p", "NO_PROXY=*", "X=1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			env, removed := exec.Environment(test.environ, test.set)
			if !slices.Equal(env, test.want) || !slices.Equal(removed, test.removed) {
				t.Errorf("got %q, without %q", env, removed)
			}
		})
	}
}
