"""hvac, told by VAULT_ADDR and VAULT_TOKEN; what is read is for OpenAI, or is keys of AWS."""

import functools
import os

import boto3
import hvac
import openai


@functools.cache
def client():
    return hvac.Client()


def gpt():
    key = client().secrets.kv.v2.read_secret_version("gpt", raise_on_deleted_version=True)["data"]["data"]["value"]
    return said(key)


def gpt_kv1():
    return said(client().secrets.kv.v1.read_secret("gpt")["data"]["value"])


def said(key):
    chat = openai.OpenAI(api_key=key, max_retries=0).chat.completions
    return chat.create(model="gpt-5", messages=[{"role": "user", "content": "Who am I?"}]).choices[0].message.content


def keys():
    """As an application reads from Vault's engine of AWS."""
    read = client().secrets.aws.generate_credentials("bedrock")["data"]
    session = boto3.Session(read["access_key"], read["secret_key"], read["security_token"], region_name="us-east-1")
    return session.client("sts").get_caller_identity()["Arn"]


def lease():
    """What any engine of Vault's answers."""
    read = client().read(os.environ["ASKS_VAULT_LEASE"])
    return [bool(read["lease_id"]), read["lease_duration"] > 60, read["renewable"], sorted(read["data"])]


def value():
    """Whether there is one; what it is stays here."""
    return bool(client().secrets.kv.v1.read_secret(os.environ["ASKS_VAULT_VALUE"])["data"]["value"])


CALLS = {
    "authenticated": lambda: client().is_authenticated(),
    "health": lambda: client().sys.read_health_status(method="GET")["sealed"],
    "gpt": gpt,
    "gpt, kv 1": gpt_kv1,
    "aws": keys,
    "lease": lease,
    "value": value,
    "unknown": lambda: client().secrets.kv.v2.read_secret_version("other", raise_on_deleted_version=True),
    "write": lambda: client().secrets.kv.v2.create_or_update_secret("gpt", {"value": "x"}),
}
