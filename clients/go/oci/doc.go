// Package oci signs requests to Oracle Cloud Infrastructure with credentials of a Cambio
// server, for oci-go-sdk and for net/http.
//
// A [Session] has a key of its own, which never leaves the process: the server is told
// the public half, and what it hands out is of no use without the other. The key stays
// the same while tokens are replaced, so that a key and a token, read one after the
// other, always fit.
//
// A [SigningSession] has no key at all: Cambio holds it, looks at each request, and signs
// what the target lists. It costs a call for each request.
//
//	key, err := oci.NewKey(rand.Reader)
//	…
//	session, err := oci.NewSession(client, cambio.Request{Audience: "oci-genai"}, key)
//	…
//	genai, err := generativeaiinference.NewGenerativeAiInferenceClientWithConfigurationProvider(session.Provider())
//
// oci-go-sdk unpacks to about 200 MB; who imports the core alone does not download it.
package oci
