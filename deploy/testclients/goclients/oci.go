package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/common/auth"
	"github.com/oracle/oci-go-sdk/v65/generativeaiinference"
)

const ociModule = "github.com/oracle/oci-go-sdk/v65"

// oci: a key that `cambio exchange` makes, whose private half stays in a file, and
// the session token that names it, as a resource principal of version 2.2.
//
// The SDK's own token exchange is no judge: it cancels its request before it reads
// the answer, and so fails at random.
func (w world) oci(ctx context.Context) {
	own, other, token := filepath.Join(w.Work, "oci-go.pem"), filepath.Join(w.Work, "oci-go-other.pem"), filepath.Join(w.Work, "oci-go.rpst")
	judge("oci", ociModule, "resource principal 2.2 from files, GenAI chat", func() (string, error) {
		if err := w.ociToken(own, token); err != nil {
			return "", err
		}
		return w.genAI(ctx, own, token)
	}, "You are default:oci-genai")
	refusal("oci", ociModule, "an RPST with a key that it does not name", func() (string, error) {
		if err := w.ociToken(other, filepath.Join(w.Work, "oci-go-other.rpst")); err != nil {
			return "", err
		}
		return w.genAI(ctx, other, token)
	}, "NotAuthenticated")
}

// ociToken makes a key and gets a token that names it, both into files.
func (w world) ociToken(key, file string) error {
	text, err := w.exchange("oci-genai", "--new-key", key)
	if err != nil {
		return err
	}
	var vended struct{ Token string }
	if err := json.Unmarshal([]byte(text), &vended); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(vended.Token), 0o600)
}

func (w world) genAI(ctx context.Context, key, token string) (string, error) {
	for name, value := range map[string]string{
		auth.ResourcePrincipalVersionEnvVar: auth.ResourcePrincipalVersion2_2, auth.ResourcePrincipalRegionEnvVar: "us-ashburn-1",
		auth.ResourcePrincipalRPSTEnvVar: token, auth.ResourcePrincipalPrivatePEMEnvVar: key,
	} {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	provider, err := auth.ResourcePrincipalConfigurationProvider()
	if err != nil {
		return "", err
	}
	client, err := generativeaiinference.NewGenerativeAiInferenceClientWithConfigurationProvider(provider)
	if err != nil {
		return "", err
	}
	client.Host = w.Clouds["oci"]
	out, err := client.Chat(ctx, generativeaiinference.ChatRequest{ChatDetails: generativeaiinference.ChatDetails{
		CompartmentId: common.String("ocid1.compartment.oc1..judges"), ServingMode: generativeaiinference.OnDemandServingMode{ModelId: common.String("meta.llama")},
		ChatRequest: generativeaiinference.GenericChatRequest{Messages: []generativeaiinference.Message{
			generativeaiinference.UserMessage{Content: []generativeaiinference.ChatContent{generativeaiinference.TextContent{Text: common.String("Who am I?")}}},
		}},
	}})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(out.ChatResult)
	return string(text), err
}
