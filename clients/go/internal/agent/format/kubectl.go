package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	execGroup = "client.authentication.k8s.io/"
	// maxExecInfo bounds KUBERNETES_EXEC_INFO, which holds a CA bundle, in bytes.
	maxExecInfo = 1 << 20
)

// ExecInfo is what kubectl and client-go tell an exec plugin (Kubernetes API,
// client.authentication.k8s.io).
type ExecInfo struct {
	// APIVersion is that of the answer; empty: v1.
	APIVersion string
	// Server is the URL of the cluster; empty unless the kubeconfig has
	// provideClusterInfo.
	Server string
	// Interactive says that a person could be asked.
	Interactive bool
}

// ParseExecInfo reads KUBERNETES_EXEC_INFO. Empty is as if v1 had been asked for and
// nothing been said of the cluster, as when somebody tries the command by hand.
func ParseExecInfo(text string) (ExecInfo, error) {
	if text == "" {
		return ExecInfo{APIVersion: execGroup + "v1"}, nil
	}
	var asked struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Spec       struct {
			Interactive bool `json:"interactive"`
			Cluster     *struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"spec"`
	}
	if len(text) > maxExecInfo || json.Unmarshal([]byte(text), &asked) != nil || asked.Kind != "ExecCredential" {
		return ExecInfo{}, errors.New("KUBERNETES_EXEC_INFO holds no ExecCredential: let kubectl set it, or unset it")
	}
	switch asked.APIVersion {
	case execGroup + "v1", execGroup + "v1beta1":
	default:
		return ExecInfo{}, fmt.Errorf("KUBERNETES_EXEC_INFO asks for %q: set apiVersion of the kubeconfig's exec to %sv1", cut(asked.APIVersion), execGroup)
	}
	info := ExecInfo{APIVersion: asked.APIVersion, Interactive: asked.Spec.Interactive}
	if asked.Spec.Cluster != nil {
		info.Server = asked.Spec.Cluster.Server
	}
	return info, nil
}

// For checks that the credential is for this cluster and no other.
func (i ExecInfo) For(server string) error {
	switch {
	case i.Server == "":
		return errors.New("kubectl does not say which cluster it asks for: set provideClusterInfo in the kubeconfig's exec")
	case strings.TrimRight(i.Server, "/") != strings.TrimRight(server, "/"):
		return fmt.Errorf("this credential is for the cluster at %s only, and kubectl asks for another", server)
	}
	return nil
}

func execCredential(c *cambio.Credential, o Options) ([]byte, error) {
	var status struct {
		Expires string `json:"expirationTimestamp"`
		Token   string `json:"token"`
	}
	status.Expires = moment(c.Expires)
	if o.Field != "" {
		value, err := Field(c, o.Field)
		if err != nil {
			return nil, err
		}
		status.Token = value.Reveal()
	} else {
		var err error
		if status.Token, err = token(c); err != nil {
			return nil, err
		}
	}
	if status.Token == "" || strings.ContainsFunc(status.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the credential is no token: it is empty, or has characters that no header takes")
	}
	version := o.Exec.APIVersion
	if version == "" {
		version = execGroup + "v1"
	}
	return lineOfJSON(struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Status     any    `json:"status"`
	}{"ExecCredential", version, status})
}
