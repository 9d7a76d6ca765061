"""boto3 by its default chain."""

import functools
import json

import boto3

CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10, "messages": [{"role": "user", "content": "Who am I?"}]}


@functools.cache
def client(service):
    return boto3.Session(region_name="us-east-1").client(service)


def sts():
    return client("sts").get_caller_identity()["Arn"]


def bedrock():
    answer = client("bedrock-runtime").invoke_model(modelId="anthropic.claude-haiku", body=json.dumps(CLAUDE))
    return json.load(answer["body"])["content"][0]["text"]


CALLS = {"sts": sts, "bedrock": bedrock}
