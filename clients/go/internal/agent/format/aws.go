package format

import (
	"errors"
	"fmt"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// awsKeys are the parts of AWS credentials.
type awsKeys struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string `json:",omitempty"`
	// Expiration is by this machine's clock, as the SDK compares it with that.
	Expiration string
}

// awsOf reads AWS credentials, those of Cambio and those of Vault's engine `aws`.
func awsOf(c *cambio.Credential) (awsKeys, error) {
	parts := []string{"AccessKeyId", "SecretAccessKey", "SessionToken"}
	switch c.IssuedTokenType {
	case cambio.TokenTypeAWSCredentials:
	case cambio.TokenTypeVaultLease:
		parts = []string{"access_key", "secret_key", "security_token"}
	default:
		return awsKeys{}, fmt.Errorf("the target issues %s: AWS credentials are needed, %s", c.IssuedTokenType, cambio.TokenTypeAWSCredentials)
	}
	keys := awsKeys{Version: 1, Expiration: moment(c.Expires)}
	for i, to := range []*string{&keys.AccessKeyID, &keys.SecretAccessKey} {
		value, err := Field(c, parts[i])
		if err != nil {
			return awsKeys{}, err
		}
		if *to = value.Reveal(); *to == "" {
			return awsKeys{}, fmt.Errorf("field %q of the credential is empty", parts[i])
		}
	}
	// Keys of an IAM user have no session.
	if session, err := Field(c, parts[2]); err == nil {
		keys.SessionToken = session.Reveal()
	}
	return keys, nil
}

// credentialProcess writes what the AWS SDKs read of a process (AWS SDKs and Tools
// Reference Guide, "Process credential provider").
func credentialProcess(c *cambio.Credential) ([]byte, error) {
	keys, err := awsOf(c)
	if err != nil {
		return nil, err
	}
	if c.Expires.IsZero() {
		return nil, errors.New("the credential does not say when it ends, so no SDK would ask for the next")
	}
	return lineOfJSON(keys)
}
