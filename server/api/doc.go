// Package api is the typed door: the gRPC services of cambio.v1, and their REST
// face by grpc-gateway.
//
// Both faces run the same handlers behind the same interceptors: REST dials the
// gRPC server in process. What only the outside knows of a request (address,
// credentials, user agent) is taken from the HTTP request by either face and
// handed on in memory, so that no header and no metadata that a caller writes can
// pass for it (S19).
//
// The API's definition is public, so gRPC reflection is on. There is no gRPC
// health service: /readyz answers that, with reasons, and two answers to one
// question would differ some day.
package api
