// Package all registers every provider: one line each.
package all

import (
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/mcp"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
)

// Registry returns the kinds that policy files may name.
func Registry() *provider.Registry {
	return provider.NewRegistry(
		aws.Kind(),
		mcp.Kind(),
		oci.Kind(),
	)
}
