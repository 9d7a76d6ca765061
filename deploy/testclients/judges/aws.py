"""AWS: boto3 and the Anthropic client for Bedrock."""

import json
import os

import anthropic
import boto3
import botocore.exceptions

from .bench import Bench, World

MODEL = "amazon.nova-lite-v1:0"
ROLE = "assumed-role/llm/"


def hello(client):
    out = client.converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Who am I?"}]}])
    return out["output"]["message"]["content"][0]["text"] + " " + out["stopReason"]


def main():
    world, bench = World(), Bench("aws")

    # A profile that gets its keys from Cambio by credential_process, as a person or a
    # pod would have it; nothing else tells boto3 of them.
    config = f"{world.work}/aws-config"
    with open(config, "w") as f:
        f.write(
            "[profile llm]\nregion = us-east-1\ncredential_process = "
            f"{world.cambio} exchange --data {world.data} --target bedrock --subject-token-file {world.token_file} --output token\n"
        )
    os.environ["AWS_CONFIG_FILE"], os.environ["AWS_SHARED_CREDENTIALS_FILE"] = config, f"{world.work}/no-credentials"
    session = boto3.Session(profile_name="llm")
    bench.judge("boto3", "sts get-caller-identity, credential_process", lambda: session.client("sts").get_caller_identity()["Arn"], ROLE)
    bench.judge("boto3", "bedrock converse, credential_process", lambda: hello(session.client("bedrock-runtime")), ROLE, "source identity gateway", "namespace llm", "end_turn")

    keys = json.loads(world.exchange("bedrock"))
    given = dict(aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])
    forged = dict(given, aws_secret_access_key=keys["SecretAccessKey"][::-1])
    bench.refusal("boto3", "sts, a wrong secret", lambda: boto3.client("sts", region_name="us-east-1", **forged).get_caller_identity(),
                  botocore.exceptions.ClientError, "SignatureDoesNotMatch")
    bench.refusal("boto3", "bedrock, a wrong secret", lambda: hello(boto3.client("bedrock-runtime", region_name="us-east-1", **forged)),
                  botocore.exceptions.ClientError, "InvalidSignatureException")

    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = world.exchange("bedrock-key")
    bench.judge("boto3", "bedrock converse, AWS_BEARER_TOKEN_BEDROCK", lambda: hello(boto3.client("bedrock-runtime", region_name="us-east-1")), ROLE)
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] += "x"
    bench.refusal("boto3", "bedrock, an altered key", lambda: hello(boto3.client("bedrock-runtime", region_name="us-east-1")),
                  botocore.exceptions.ClientError, "UnrecognizedClientException")
    del os.environ["AWS_BEARER_TOKEN_BEDROCK"]

    claude = anthropic.AnthropicBedrock(
        aws_access_key=keys["AccessKeyId"], aws_secret_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
        aws_region="us-east-1", base_url=world.clouds["aws"],
    )
    # The version of the body is the one that AWS documents for InvokeModel; this release
    # of the package would put that of Anthropic's own API there.
    bench.judge("anthropic", "AnthropicBedrock messages", lambda: claude.messages.create(
        model="anthropic.claude-haiku", max_tokens=10, messages=[{"role": "user", "content": "Who am I?"}],
        extra_body={"anthropic_version": "bedrock-2023-05-31"},
    ).content[0].text, ROLE)

    # AWS's own way with a token in a file, as the oracle of STS.
    os.environ.update(AWS_WEB_IDENTITY_TOKEN_FILE=world.assertion("aws"), AWS_ROLE_ARN=world.aws["role"], AWS_ROLE_SESSION_NAME="judges",
                      AWS_ENDPOINT_URL_STS=world.sandbox["aws"])
    bench.judge("boto3", "AssumeRoleWithWebIdentity from a token file", lambda: boto3.Session(region_name="us-east-1").client("sts").get_caller_identity()["Arn"], ROLE + "judges")
    os.environ.update(AWS_WEB_IDENTITY_TOKEN_FILE=world.assertion("gcp"))
    bench.refusal("boto3", "an assertion for another audience", lambda: boto3.Session(region_name="us-east-1").client("sts").get_caller_identity(),
                  botocore.exceptions.ClientError, "InvalidIdentityToken")


if __name__ == "__main__":
    main()
