"""The identity that the surroundings give."""

from __future__ import annotations

import os

from ._errors import misconfigured
from ._identity import DEFAULT_TOKEN_FILE, EnvironmentToken, Identity, ServiceAccountFile
from ._identity_github import REQUEST_URL, GitHubActions


def from_environment() -> Identity:
    """The identity by what is set: CAMBIO_TOKEN_FILE, CAMBIO_TOKEN, DEFAULT_TOKEN_FILE if it is there, or the ID
    token of a GitHub Actions job, with audience "cambio". Raises Misconfigured.

        from cambio_client import from_environment

        print(from_environment().identity_token().expires_at)
    """
    if path := os.environ.get("CAMBIO_TOKEN_FILE"):
        return ServiceAccountFile(path)
    if os.environ.get("CAMBIO_TOKEN"):
        return EnvironmentToken("CAMBIO_TOKEN")
    if os.path.exists(DEFAULT_TOKEN_FILE):
        return ServiceAccountFile(DEFAULT_TOKEN_FILE)
    if os.environ.get(REQUEST_URL):
        return GitHubActions("cambio")
    raise misconfigured(f"set CAMBIO_TOKEN_FILE to the file of a token, or mount one at {DEFAULT_TOKEN_FILE}")
