// Package all registers every provider: one line each.
package all

import (
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
	"github.com/cambio-sts/cambio/exchange/provider/ibm"
	"github.com/cambio-sts/cambio/exchange/provider/mcp"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/openai"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

// Registry returns the kinds that policy files may name.
func Registry() *provider.Registry {
	return provider.NewRegistry(
		anthropic.Kind(),
		aws.Kind(),
		azure.Kind(),
		gcp.Kind(),
		ibm.Kind(),
		mcp.Kind(),
		oauth2.Kind(),
		oci.Kind(),
		openai.Kind(),
		vault.Kind(),
	)
}
