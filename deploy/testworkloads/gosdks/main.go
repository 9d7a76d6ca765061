// Command gosdks is a workload that knows nothing of Cambio: it uses the vendors' SDKs
// for Go, unmodified, by what its environment tells them, and prints what the cloud says
// of who asks, or, with status 1, what the SDK says of a refusal. Its one argument is the
// SDK. It is a module of its own, which is built twice: with go.mod, the newest versions,
// and with oldest.mod, the oldest ones that cambio-agent serves (docs/sdks.md).
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// sdks are what the argument may be. credential-process is a profile of AWS: the SDK
// finds by itself which of the two it has.
var sdks = map[string]func(context.Context) (string, error){
	"aws": amazon, "credential-process": amazon, "azure": azure, "google": gcp,
	"oci-files": ociFiles, "oci-oke": ociOKE, "ibm": ibm, "vault": vault,
}

// question is a chat in the form of OpenAI.
const question = `{"model":"gpt","messages":[{"role":"user","content":"Who am I?"}]}`

func main() {
	if len(os.Args) != 2 || sdks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "gosdks: name one SDK of those in main.go")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	said, err := sdks[os.Args[1]](ctx)
	if err != nil {
		fmt.Println(err) // standard error is the agent's, under exec
		os.Exit(1)
	}
	fmt.Println(said)
}

// answer is the text of a response that is no error.
func answer(response *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %w", response.Status, text, err)
	}
	return string(text), nil
}
