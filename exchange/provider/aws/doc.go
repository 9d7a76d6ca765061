// Package aws is the provider for AWS: its credential is a session of an IAM role,
// from the Security Token Service (STS), or a bearer key for Amazon Bedrock that is
// signed with such a session.
//
// By default STS is shown an assertion of the federation issuer
// (AssumeRoleWithWebIdentity), so that no secret of AWS is kept anywhere. The
// assertion's `sub` names tenant and target, and the role's trust policy admits that
// `sub`.
package aws
