package format

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Variable is one variable of an environment.
type Variable struct {
	Name  string
	Value cambio.Secret
}

// Variables are those that a credential is put in. With a name it is that one. Without,
// they follow from what the target issues: AWS credentials have the variables that AWS
// SDKs read, and of a Vault lease each field is a variable, in capitals; for a lease a
// name that ends with an underscore is put before each field's. Names that change how
// programs are loaded, such as PATH, are never taken from a lease.
func Variables(c *cambio.Credential, name string) ([]Variable, error) {
	lease := c.IssuedTokenType == cambio.TokenTypeVaultLease
	switch {
	case name != "" && !variableName(name):
		return nil, fmt.Errorf("%q names no variable: use letters, digits and _, and no digit first", name)
	case lease && (name == "" || strings.HasSuffix(name, "_")):
		return leaseVariables(c, name)
	case name != "":
		return []Variable{{name, c.Value}}, nil
	}
	switch c.IssuedTokenType {
	case cambio.TokenTypeBedrockKey:
		return []Variable{{"AWS_BEARER_TOKEN_BEDROCK", c.Value}}, nil
	case cambio.TokenTypeAWSCredentials:
		keys, err := awsOf(c)
		if err != nil {
			return nil, err
		}
		return []Variable{
			{"AWS_ACCESS_KEY_ID", cambio.NewSecret(keys.AccessKeyID)},
			{"AWS_SECRET_ACCESS_KEY", cambio.NewSecret(keys.SecretAccessKey)},
			{"AWS_SESSION_TOKEN", cambio.NewSecret(keys.SessionToken)},
			{"AWS_CREDENTIAL_EXPIRATION", cambio.NewSecret(keys.Expiration)},
		}, nil
	}
	return nil, errors.New("name the variable, such as OPENAI_API_KEY: it does not follow from what the target issues")
}

func leaseVariables(c *cambio.Credential, prefix string) ([]Variable, error) {
	whole, err := object(c)
	if err != nil {
		return nil, err
	}
	data, ok := whole["data"].(map[string]any)
	if !ok || len(data) == 0 {
		return nil, errors.New("the lease has no fields")
	}
	var variables []Variable
	from := map[string]string{}
	for _, field := range slices.Sorted(maps.Keys(data)) {
		name := prefix + strings.Map(capital, field)
		switch other, twice := from[name]; {
		case twice:
			return nil, fmt.Errorf("fields %q and %q of the lease are both variable %s", cut(other), cut(field), cut(name))
		case !variableName(name):
			return nil, fmt.Errorf("field %q of the lease names no variable: set a prefix, such as DB_", cut(field))
		case loads(name):
			return nil, fmt.Errorf("field %q of the lease would set %s, which changes how programs run: set a prefix, such as DB_", cut(field), cut(name))
		}
		from[name] = field
		if data[field] == nil { // no value, no variable
			continue
		}
		value, err := written(data[field], field)
		if err != nil {
			return nil, err
		}
		variables = append(variables, Variable{name, value})
	}
	return variables, nil
}

// capital maps a field's name to that of a variable.
func capital(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return r - 'a' + 'A'
	case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return r
	}
	return '_'
}

func variableName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 256
}

// loads reports whether a variable changes what programs load, how shells read, or whom
// programs trust and go through.
func loads(name string) bool {
	switch name {
	case "PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "IFS", "PS4", "SHELLOPTS", "BASHOPTS", "CDPATH", "TMPDIR",
		"NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "PERL5LIB", "PERL5OPT", "RUBYOPT", "RUBYLIB", "GCONV_PATH",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "OPENSSL_MODULES",
		"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "PROMPT_COMMAND", "KUBECONFIG", "DOCKER_CONFIG":
		return true
	}
	for _, prefix := range []string{"LD_", "DYLD_", "PYTHON", "GIT_", "CAMBIO_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// shell writes lines for a POSIX shell: between single quotes nothing is special
// (POSIX.1-2024, Shell Command Language, 2.2.2).
func shell(variables []Variable) ([]byte, error) {
	var b bytes.Buffer
	for _, v := range variables {
		quoted, err := ShellQuote(v.Value.Reveal())
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		fmt.Fprintf(&b, "export %s=%s\n", v.Name, quoted)
	}
	return b.Bytes(), nil
}

// ShellQuote writes a text as one word of a POSIX shell.
func ShellQuote(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("no shell takes a NUL")
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'", nil
}

// dotenv writes lines of an env file. There is no standard, so only what every reader
// takes alike is written: shells, systemd, Compose and the libraries called dotenv. Plain
// texts have no quotes, so that `docker run --env-file` takes them too.
func dotenv(variables []Variable) ([]byte, error) {
	var b bytes.Buffer
	for _, v := range variables {
		text := v.Value.Reveal()
		switch {
		case !strings.ContainsFunc(text, special):
		case strings.ContainsFunc(text, control):
			// Some read line by line, whatever the quotes: a second line would be
			// another variable there.
			return nil, fmt.Errorf("variable %s: an env file takes one line without control characters: use the format %s, or write the value to a file of its own", v.Name, Shell)
		case !strings.ContainsAny(text, `'\`):
			text = "'" + text + "'"
		case !strings.ContainsAny(text, "\"\\$`!"):
			text = `"` + text + `"`
		default:
			return nil, fmt.Errorf("variable %s: readers of env files differ on such quotes and backslashes: use the format %s, or write the value to a file of its own", v.Name, Shell)
		}
		fmt.Fprintf(&b, "%s=%s\n", v.Name, text)
	}
	return b.Bytes(), nil
}

// special reports what some reader of env files takes for more than itself.
func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,=", r))
}
