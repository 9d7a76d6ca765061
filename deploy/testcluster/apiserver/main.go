// Command apiserver is the kube-apiserver of the test cluster, built from its
// released Go modules, since no package that a plain Debian machine can install
// ships one. It is a module of its own: its replace lines, which Kubernetes'
// staging modules need, stay out of the product's go.mod.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build metric
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
