package main

import (
	"encoding/json"

	"github.com/IBM/go-sdk-core/v5/core"
)

const ibmModule = "github.com/IBM/go-sdk-core/v5"

func (w world) ibm() {
	at, says := w.Clouds["ibm"], "You are iam-"+w.IBM.Profile+" by system:serviceaccount:llm:gateway"
	judge("ibm", ibmModule, "BearerTokenAuthenticator, watsonx chat", func() (string, error) {
		token, err := w.exchange("watsonx", "--passthrough-token-file", w.IAMFile)
		if err != nil {
			return "", err
		}
		a, err := core.NewBearerTokenAuthenticator(token)
		if err != nil {
			return "", err
		}
		return watsonx(at, a)
	}, says)
	pod := func(file string) func() (string, error) {
		return func() (string, error) {
			a, err := core.NewContainerAuthenticatorBuilder().SetCRTokenFilename(file).SetIAMProfileID(w.IBM.Profile).SetURL(at).Build()
			if err != nil {
				return "", err
			}
			return watsonx(at, a)
		}
	}
	judge("ibm", ibmModule, "ContainerAuthenticator at IAM, watsonx chat", pod(w.IAMFile), says)
	refusal("ibm", ibmModule, "a token for another audience", pod(w.TokenFile), "Compute resource token")
}

func watsonx(at string, a core.Authenticator) (string, error) {
	service, err := core.NewBaseService(&core.ServiceOptions{URL: at, Authenticator: a})
	if err != nil {
		return "", err
	}
	builder := core.NewRequestBuilder(core.POST)
	if _, err := builder.ResolveRequestURL(at, "/ml/v1/text/chat", nil); err != nil {
		return "", err
	}
	builder.AddQuery("version", "2024-10-10")
	builder.AddHeader("Content-Type", "application/json")
	if _, err := builder.SetBodyContentJSON(map[string]any{
		"model_id": "ibm/granite", "project_id": "judges", "messages": []any{map[string]string{"role": "user", "content": "Who am I?"}},
	}); err != nil {
		return "", err
	}
	request, err := builder.Build()
	if err != nil {
		return "", err
	}
	var answer map[string]json.RawMessage
	if _, err := service.Request(request, &answer); err != nil {
		return "", err
	}
	return string(answer["choices"]), nil
}
