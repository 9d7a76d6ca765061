package main

import (
	"context"
	"os"
	"path/filepath"

	anthropic "github.com/anthropics/anthropic-sdk-go"
	claudeonbedrock "github.com/anthropics/anthropic-sdk-go/bedrock"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	stsModule     = "github.com/aws/aws-sdk-go-v2/service/sts"
	bedrockModule = "github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	awsRole       = "assumed-role/llm/"
)

// aws: a profile whose credential_process is Cambio's command line, as the
// environment names it; the endpoints are the environment's too.
func (w world) aws(ctx context.Context) {
	file := filepath.Join(w.Work, "aws-config-go")
	text := "[profile llm]\nregion = us-east-1\ncredential_process = " + w.Cambio + " exchange --data " + w.Data +
		" --target bedrock --subject-token-file " + w.TokenFile + " --output token\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tell("aws", stsModule, "a configuration", false, err.Error())
		return
	}
	load := func(more ...func(*config.LoadOptions) error) (aws.Config, error) {
		return config.LoadDefaultConfig(ctx, append([]func(*config.LoadOptions) error{
			config.WithSharedConfigFiles([]string{file}), config.WithSharedConfigProfile("llm"), config.WithRetryMaxAttempts(1),
		}, more...)...)
	}
	judge("aws", stsModule, "get-caller-identity, credential_process", func() (string, error) {
		c, err := load()
		if err != nil {
			return "", err
		}
		return whoami(ctx, c)
	}, awsRole)
	judge("aws", bedrockModule, "converse, credential_process", func() (string, error) {
		c, err := load()
		if err != nil {
			return "", err
		}
		return converse(ctx, c)
	}, awsRole, "namespace llm", "source identity gateway")
	refusal("aws", stsModule, "a wrong secret", func() (string, error) {
		c, err := load()
		if err != nil {
			return "", err
		}
		keys, err := c.Credentials.Retrieve(ctx)
		if err != nil {
			return "", err
		}
		keys.SecretAccessKey += "x"
		c.Credentials = credentials.StaticCredentialsProvider{Value: keys}
		return whoami(ctx, c)
	}, "SignatureDoesNotMatch")
	judge("aws", bedrockModule, "converse, AWS_BEARER_TOKEN_BEDROCK", func() (string, error) {
		key, err := w.exchange("bedrock-key")
		if err != nil {
			return "", err
		}
		if err := os.Setenv("AWS_BEARER_TOKEN_BEDROCK", key); err != nil {
			return "", err
		}
		defer func() { _ = os.Unsetenv("AWS_BEARER_TOKEN_BEDROCK") }()
		c, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return "", err
		}
		return converse(ctx, c)
	}, awsRole)
	judge("aws", claudeModule, "bedrock messages", func() (string, error) {
		c, err := load()
		if err != nil {
			return "", err
		}
		client := anthropic.NewClient(claudeonbedrock.WithConfig(c), option.WithBaseURL(w.Clouds["aws"]), option.WithMaxRetries(0))
		return message(ctx, client)
	}, awsRole)
	judge("aws", stsModule, "AssumeRoleWithWebIdentity from a token file", func() (string, error) {
		for name, value := range map[string]string{
			"AWS_WEB_IDENTITY_TOKEN_FILE": w.assertion("aws"), "AWS_ROLE_ARN": w.AWS.Role, "AWS_ROLE_SESSION_NAME": "judges", "AWS_ENDPOINT_URL_STS": w.Sandbox["aws"],
		} {
			if err := os.Setenv(name, value); err != nil {
				return "", err
			}
		}
		c, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return "", err
		}
		return whoami(ctx, c)
	}, awsRole+"judges")
}

func whoami(ctx context.Context, c aws.Config) (string, error) {
	out, err := sts.NewFromConfig(c).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Arn), nil
}

func converse(ctx context.Context, c aws.Config) (string, error) {
	out, err := bedrockruntime.NewFromConfig(c).Converse(ctx, &bedrockruntime.ConverseInput{
		ModelId: aws.String("amazon.nova-lite-v1:0"),
		Messages: []types.Message{{
			Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: "Who am I?"}},
		}},
	})
	if err != nil {
		return "", err
	}
	said, ok := out.Output.(*types.ConverseOutputMemberMessage)
	if !ok || len(said.Value.Content) == 0 {
		return "nothing", nil
	}
	text, _ := said.Value.Content[0].(*types.ContentBlockMemberText)
	return text.Value, nil
}
