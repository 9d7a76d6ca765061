"""docs/sdks.md tells what this suite runs, by the files that pin it. WORKLOADS_WRITE=1 writes the table anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import versions
from house import ROOT

PAGE = ROOT / "docs/sdks.md"
BOTH, NEWEST, LITELLM = ("newest", "oldest"), ("newest",), ("litellm",)


class Row(NamedTuple):
    sdk: str  # by its name in the files
    ran: tuple[str, ...]
    by: str


GO = [
    Row("github.com/aws/aws-sdk-go-v2/config", BOTH, "`aws`; `credential-process`"),
    Row("github.com/Azure/azure-sdk-for-go/sdk/azidentity", BOTH, "`azure`"),
    Row("cloud.google.com/go/compute/metadata", BOTH, "`gce`"),
    Row("golang.org/x/oauth2", BOTH, "`gce`"),
    Row("github.com/oracle/oci-go-sdk/v65", BOTH, "`oci.files`, `oci.proxymux`"),
    Row("github.com/IBM/go-sdk-core/v5", BOTH, "`ibm`"),
    Row("github.com/hashicorp/vault/api", BOTH, "`vault`"),
]
# What they are used with, of the same makers and the same days.
WITH_THEM = {
    "github.com/aws/aws-sdk-go-v2",
    "github.com/aws/aws-sdk-go-v2/service/sts",
    "github.com/Azure/azure-sdk-for-go/sdk/azcore",
}
PYTHON = [
    Row("boto3", BOTH, "`aws`; `credential-process`; files"),
    Row("boto3", NEWEST, "adapter `boto3_session`"),
    Row("azure-identity", BOTH, "`azure`"),
    Row("azure-core", NEWEST, "adapter `azure_credential`"),
    Row("google-auth", BOTH, "`gce`"),
    Row("google-auth", NEWEST, "adapter `google_credentials`"),
    Row("oci", BOTH, "`oci.files`, `oci.proxymux`; adapter `oci_sdk_signer`"),
    Row("ibm-cloud-sdk-core", BOTH, "`ibm`"),
    Row("hvac", BOTH, "`vault`"),
    Row("hvac", NEWEST, "adapter `hvac_client`"),
    Row("requests", BOTH, "adapter `OciSigner`"),
    Row("httpx", BOTH, "adapters `http_auth`, `oci_http_auth`"),
    Row("httpx2", BOTH, "adapter `oci_http_auth`"),
    Row("openai", BOTH, "what `azure` and `vault` give; the proxy; adapters `openai_client`, `async_openai_client`"),
    Row("openai", NEWEST, "adapter `async_azure_openai_client`"),
    Row("anthropic", NEWEST, "adapter `anthropic_client`"),
    Row("mcp", BOTH, "the proxy"),
    Row("mcp", NEWEST, "adapter `mcp_http_client`"),
    Row("litellm", LITELLM, "the proxy; adapter `OciSigner`"),
]


def table() -> list[str]:
    lines = ["| SDK | newest | oldest | by |", "|---|---|---|---|"]
    languages: list[tuple[str, list[Row], Callable[[str], dict[str, str]]]] = [("Go", GO, versions.go), ("Python", PYTHON, versions.python)]
    for language, rows, read in languages:
        pinned: dict[str, dict[str, str]] = {which: read(which) for row in rows for which in row.ran}
        for row in rows:
            newest, oldest = (pinned[which][row.sdk] if which in row.ran else "" for which in BOTH)
            if row.ran == LITELLM:
                newest = pinned["litellm"][row.sdk]
            lines.append(f"| {row.sdk.removeprefix('github.com/')} ({language}) | {newest} | {oldest} | {row.by} |")
    return lines


def with_table(text: str) -> str:
    """The page, whose one table is made anew."""
    before, _, rest = text.partition("\n| ")
    after = rest.partition("\n\n")[2]
    return before + "\n" + "\n".join(table()) + "\n\n" + after


def test_page_has_what_is_run() -> None:
    text = PAGE.read_text()
    if os.environ.get("WORKLOADS_WRITE"):
        text = with_table(text)
        PAGE.write_text(text)
    told = [line for line in text.splitlines() if line.startswith("|")]
    assert told == table(), "docs/sdks.md is not what the suite runs: write it with WORKLOADS_WRITE=1 make test-workloads"


def test_every_sdk_of_gosdks_is_in_the_table() -> None:
    for which in BOTH:
        assert set(versions.go(which)) == {row.sdk for row in GO} | WITH_THEM


def test_oldest_is_older_than_newest() -> None:
    for read, rows in ((versions.go, GO), (versions.python, PYTHON)):
        newest, oldest = read("newest"), read("oldest")
        for row in rows:
            if row.ran == BOTH:
                assert numbers(oldest[row.sdk]) < numbers(newest[row.sdk]), row.sdk


def numbers(version: str) -> list[int]:
    return [int(n) for n in version.split(".")]
