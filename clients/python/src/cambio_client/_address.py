"""Where secrets may be sent."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from ._errors import misconfigured

_BLANK = re.compile(r"[\x00-\x20\x7f-\xff\\]")


def safe_url(text: str, what: str) -> SplitResult:
    """The parts of a URL that is sent secrets: https, or plain http to this machine. what names it in the error."""
    fault = ""
    u = SplitResult("", "", "", "", "")
    try:
        u = urlsplit(text)
        _ = u.port
    except ValueError:
        fault = "it is no URL: write https://host"
    if fault or not u.scheme or not u.hostname or _BLANK.search(text):
        fault = "it is no URL: write https://host"
    elif u.username is not None or u.password is not None:
        fault = "a URL has no user and no password here"
    elif "#" in text:
        fault = "a URL has no fragment here"
    elif not safe_origin(u.scheme, u.hostname):
        fault = "secrets go over https, or to this machine: write https://"
    if not fault:
        return u
    # A URL that is no URL may be a secret in the wrong place.
    named = f"{what} {u.scheme}://{u.hostname}" if u.scheme and u.hostname else what
    del text, u
    raise misconfigured(f"{named}: {fault}")


def safe_origin(scheme: str, host: str) -> bool:
    """Whether a secret may be sent there."""
    return scheme == "https" or (scheme == "http" and loopback(host))


def loopback(host: str) -> bool:
    """Whether a host names this machine and nothing else. No name is resolved."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
