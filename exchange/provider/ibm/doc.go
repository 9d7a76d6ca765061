// Package ibm is the provider for IBM Cloud, watsonx first of all: IAM access tokens of
// a trusted profile. A workload on IKS or ROKS brings a token of its own that IAM takes
// for the profile; for all others this house assumes the profile with an identity of
// its own.
//
// It speaks plain HTTP, three forms to one endpoint: the SDK's core reads compute
// resource tokens from files only, knows no context, and brings eighteen modules.
package ibm
