"""Signs OCI requests with a key that stays in this process."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from ._clock import Clock
from ._errors import misconfigured
from ._extras import missing
from ._oci_pen import SEND_LEFT, Signed, members
from ._oci_request import Outline
from ._secret import Secret
from ._source import TokenSource
from ._token import Token

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

BITS = 2048
"""Of a key that is made here, and the least of one that is given."""


@dataclass(frozen=True, slots=True)
class _Credential:
    """A session token as it came, and what is read of it."""

    of: Token
    token: Secret
    region: str


class KeyPen:
    """One key for all of its life: a session token names its key, and renewals ask for the same one again, so that no
    signature is made with the key of another token."""

    always_content = False

    def __init__(self, source: Callable[[bytes], TokenSource], key: object, clock: Clock) -> None:
        self._key = _key(key)
        self._source, self._clock = source(_public(self._key)), clock
        self._read: _Credential | None = None

    def sign(self, o: Outline) -> Signed:
        return self._sign(self._source.token(min_left=SEND_LEFT), o)

    async def asign(self, o: Outline) -> Signed:
        return self._sign(await self._source.atoken(min_left=SEND_LEFT), o)

    def renew(self, value: Secret | None) -> None:
        self._source.token(rejected=self._source.token().value if value is None else value)

    async def arenew(self, value: Secret) -> None:
        await self._source.atoken(rejected=value)

    def region(self) -> str:
        return self._credential(self._source.token()).region

    def security_token(self) -> str:
        return self._credential(self._source.token(min_left=SEND_LEFT)).token.reveal()

    def _credential(self, token: Token) -> _Credential:
        read = self._read
        if read is None or read.of is not token:
            found = members(token, "token", "region")
            self._read = read = _Credential(token, Secret(found["token"]), found["region"])
        return read

    def _sign(self, token: Token, o: Outline) -> Signed:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        credential = self._credential(token)
        covered = o.signed(formatdate(self._clock.time(), usegmt=True))
        text = "\n".join(f"{name}: {value}" for name, value in covered.items())
        signature = base64.b64encode(self._key.sign(text.encode(), PKCS1v15(), SHA256())).decode()
        headers = {name: value for name, value in covered.items() if name != "(request-target)"}
        headers["authorization"] = (
            f'Signature version="1",headers="{" ".join(covered)}",keyId="ST${credential.token.reveal()}"'
            f',algorithm="rsa-sha256",signature="{signature}"'
        )
        return Signed(headers, token.value)


def _key(given: object) -> RSAPrivateKey:
    """The key: a new one, one of a PEM file, or one that is there. Raises Misconfigured, and ImportError."""
    try:
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise missing("oci") from None
    if given is None:
        return rsa.generate_private_key(65537, BITS)
    key: Any = given
    if isinstance(given, (str, os.PathLike)):
        path: str = os.fspath(given)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        fault = ""
        try:
            with open(path, "rb") as f:
                key = load_pem_private_key(f.read(64 << 10), None)
        except OSError as err:
            fault = err.strerror or "it cannot be read"
        except Exception:  # its text may quote the key
            fault = "it holds no private key in PEM without a passphrase"
        if fault:
            raise misconfigured(f"key {path}: {fault}")
    # Keys that sign elsewhere, as in a security module, look like one of this library.
    if not callable(getattr(key, "sign", None)) or not callable(getattr(key, "public_key", None)):
        raise misconfigured("key: give an RSA key of cryptography, the path of its PEM file, or nothing for a new one")
    bits = getattr(key.public_key(), "key_size", 0)
    if not isinstance(key.public_key(), rsa.RSAPublicKey) or bits < BITS:
        raise misconfigured(f"key: OCI takes RSA keys of {BITS} bits and more")
    return key


def _public(key: RSAPrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
