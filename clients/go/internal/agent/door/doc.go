// Package door serves credentials on loopback to SDKs that know nothing of Cambio, in
// the form in which each of them already asks the machine it runs on: AWS container
// credentials, the metadata server of Google Cloud, the identity endpoint of Azure App
// Service, resource principals and workload identity of OCI, compute resource tokens of
// IBM Cloud, and reads of HashiCorp Vault.
//
// Whoever reaches a door is somebody of this machine, and that is not enough (S36). The
// SDK brings a secret that is made anew at each start, or, where it cannot, the uid of
// its process is looked up; and no door talks to a browser, which is of this machine too
// and speaks for whatever page it shows.
package door
