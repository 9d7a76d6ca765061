// Package awssandbox is a stand-in for AWS: the Security Token Service with the parts
// of IAM that it asks, and the runtime of Amazon Bedrock behind it.
//
// It verifies what AWS verifies: an assertion's signature by the keys that its issuer
// publishes, issuer, audience and times; roles and their trust policies, written as
// for IAM; session names, durations, tags, session policies; and the signature of
// each signed call, with an implementation of Signature Version 4 of its own. It
// answers with the codes, statuses and shapes of AWS.
//
// What it lacks: conditions beside those on texts (a statement with another never
// helps), policies of permission boundaries and organizations, and streams of what
// /invoke answers.
package awssandbox
