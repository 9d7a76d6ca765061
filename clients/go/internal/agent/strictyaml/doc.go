// Package strictyaml decodes a file into a Go value and finds everything that is wrong
// with it in one run, each fault with its line and column. YAML libraries stop at the
// first.
package strictyaml
