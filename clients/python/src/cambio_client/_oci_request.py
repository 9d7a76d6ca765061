"""What of an HTTP request OCI's signatures cover (Oracle, "Request Signatures"; draft-cavage-http-signatures-08)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ._address import safe_origin
from ._errors import misconfigured

METHODS = ("GET", "HEAD", "DELETE", "POST", "PUT", "PATCH")
"""What OCI has signatures for."""
_WITH_BODY = ("POST", "PUT", "PATCH")
_OURS = ("date", "host", "authorization", "x-content-sha256", "content-length")
_PORTS = {"http": 80, "https": 443}
_TARGET = re.compile(r"/[\x21-\x7e]*")
_VALUE = re.compile(r"[\x20-\x7e]+")
_CHUNK = 1 << 20


class Signable(Protocol):
    """A request of requests, of litellm, or of anybody who looks like that. Where it has `path_url`, path and query as
    they stand in the request line, that is signed instead of what the URL says."""

    method: Any
    url: Any
    headers: MutableMapping[str, Any]
    body: Any


@dataclass(frozen=True, slots=True)
class Content:
    """A body, by what is signed of it."""

    type: str
    length: int
    sha256: bytes

    @property
    def digest(self) -> str:
        """As in x-content-sha256."""
        return base64.b64encode(self.sha256).decode()


@dataclass(frozen=True, slots=True)
class Outline:
    """A request as it will stand on the wire."""

    method: str
    """In upper case."""
    host: str
    """In lower case, without the scheme's own port."""
    target: str
    """Path and query."""
    content: Content | None
    """None: no body is signed."""

    def signed(self, date: str) -> dict[str, str]:
        """The headers that are signed, in the order of the signature."""
        headers = {"date": date, "(request-target)": f"{self.method.lower()} {self.target}", "host": self.host}
        if self.content is not None:
            headers["content-length"] = str(self.content.length)
            headers["content-type"] = self.content.type
            headers["x-content-sha256"] = self.content.digest
        return headers


def outline(request: Signable, with_content: bool) -> Outline:
    """Reads a request, and changes nothing of it. with_content: cover the body of those that may have one.

    Raises Misconfigured for what cannot be signed.
    """
    method = _text(request.method or "").upper()
    if method not in METHODS:
        raise misconfigured(f"OCI has no signatures for the method {method!r}")
    try:
        u = urlsplit(_text(request.url or ""))
        port = u.port
    except ValueError:
        raise misconfigured("a request is signed whose URL is one: write https://host/path") from None
    if u.scheme not in _PORTS or not u.hostname:
        raise misconfigured("a request is signed whose URL is absolute: write https://host/path")
    if not safe_origin(u.scheme, u.hostname):
        raise misconfigured(f"{u.scheme}://{u.hostname}: signed requests go over https, or to this machine")
    target = getattr(request, "path_url", None)
    target = _text(target) if target else (u.path or "/") + ("?" + u.query if u.query else "")
    if not _TARGET.fullmatch(target):
        raise misconfigured("a request is signed whose path and query are encoded: leave no blanks and umlauts in them")
    host = f"[{u.hostname}]" if ":" in u.hostname else u.hostname
    if port is not None and port != _PORTS[u.scheme]:
        host += f":{port}"
    if not _VALUE.fullmatch(host):
        raise misconfigured("a request is signed whose host is ASCII: write it in its encoded form")
    content = None
    if with_content and method in _WITH_BODY:
        content = _content(request)
    return Outline(method, host, target, content)


def put(headers: MutableMapping[str, Any], new: dict[str, str]) -> None:
    """Sets headers in place of whatever is there, in any case, that a signature would contradict."""
    for name in [name for name in headers if _text(name).lower() in new or _text(name).lower() in _stale(new)]:
        del headers[name]
    for name, value in new.items():
        headers[name] = value


def _stale(new: dict[str, str]) -> tuple[str, ...]:
    # Whose body is not signed may say how long it is; a digest of an earlier attempt would be checked all the same.
    return _OURS if "x-content-sha256" in new else _OURS[:-1]


def _content(request: Signable) -> Content:
    kinds = [_text(value) for name, value in request.headers.items() if _text(name).lower() == "content-type"]
    readable = hasattr(request.body, "read")
    kind = kinds[0] if kinds else "application/octet-stream" if readable else "application/json"
    if not _VALUE.fullmatch(kind):
        raise misconfigured("a request is signed whose content-type is one line of ASCII")
    sha256 = hashlib.sha256()
    return Content(kind, _read(request.body, sha256), sha256.digest())


def _read(body: Any, into: Any) -> int:
    """Puts a body's bytes into a digest, and gives their count. A file is left where it was."""
    if body is None:
        return 0
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        view = memoryview(cast("bytes", body))
        into.update(view)
        return view.nbytes
    try:
        began, length = body.tell(), 0
        while chunk := body.read(_CHUNK):
            into.update(chunk)
            length += len(chunk)
        body.seek(began)
    except (AttributeError, OSError, TypeError):
        pass
    else:
        return length
    raise misconfigured("the body is signed: give bytes, or a file in binary mode that can seek")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
