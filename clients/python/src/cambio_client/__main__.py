"""`python -m cambio_client`: a credential for a shell, and for what runs a credential process."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, cast

from ._client import Client
from ._errors import CODE_MISCONFIGURED, CambioError
from ._identity import ServiceAccountFile
from ._token import Token
from ._version import __version__

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit statuses, those of Cambio's other command lines."""

TYPE_AWS = "urn:cambio:token-type:aws-credentials"
TYPE_BEDROCK = "urn:cambio:token-type:bedrock-api-key"

_EXAMPLES = """\
examples:
  # Print the credential for a target, with the token of this pod
  python -m cambio_client token github-mcp

  # The same, with all that is known of it
  python -m cambio_client token github-mcp --output json

  # Give a shell what AWS's SDKs read
  export $(python -m cambio_client token bedrock --output env)

  # A profile of ~/.aws/config that asks for credentials as they are needed
  [profile bedrock]
  credential_process = python -m cambio_client credential-process bedrock

environment:
  CAMBIO_URL                 the server's URL
  CAMBIO_TOKEN_FILE          file of the token that this workload already has
  CAMBIO_TOKEN               that token itself
  CAMBIO_CA_FILE             PEM certificates to trust in place of the system's
  CAMBIO_CLIENT_ID           a registered client, with
  CAMBIO_CLIENT_SECRET_FILE  the file of its secret

exit status:
  0  done
  1  refused: what is asked for, or what was brought, has to change
  2  wrong usage, or wrong settings
  3  no answer, or none for now: the same may succeed later
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say, and gives the exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        text = _credential_process(parsed) if parsed.command == "credential-process" else _token(parsed)
    except CambioError as err:
        print(err, file=sys.stderr)
        if err.code == CODE_MISCONFIGURED:
            return USAGE
        return UNREACHABLE if err.retryable else REFUSED
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries again at its end
        return REFUSED
    return DONE


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m cambio_client",
        description="Credentials of a Cambio server, for the token that this workload already has.",
        epilog=_EXAMPLES,
        formatter_class=shape,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    token = commands.add_parser("token", help="print a credential", epilog=_EXAMPLES, formatter_class=shape)
    process = commands.add_parser(
        "credential-process",
        help="print AWS credentials as a credential_process does",
        epilog=_EXAMPLES,
        formatter_class=shape,
    )
    for command in (token, process):
        command.add_argument("target", nargs="?", help="name of the target")
        command.add_argument("--resource", help="URI of the target")
        command.add_argument("--scope", action="append", default=[], help="a scope to ask for; may be repeated")
        command.add_argument("--lifetime", type=int, metavar="SECONDS", help="how long it should live")
        command.add_argument("--reason", help="why, in one line, for the ledger")
        command.add_argument("--url", help="the server's URL (or CAMBIO_URL)")
        command.add_argument("--token-file", help="file of the token to bring (or CAMBIO_TOKEN_FILE)")
        command.add_argument("--ca-file", help="PEM certificates to trust in place of the system's (or CAMBIO_CA_FILE)")
        command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="in all (default 10)")
    token.add_argument(
        "--output", choices=("token", "json", "env"), default="token", help="the credential, all of it, or NAME=value"
    )
    token.add_argument(
        "--variable",
        default="CAMBIO_TOKEN",
        help="with --output env: what to call a credential that has no name of its own (default CAMBIO_TOKEN)",
    )
    return parser


def _exchange(parsed: argparse.Namespace) -> Token:
    client = Client(
        parsed.url,
        identity=ServiceAccountFile(parsed.token_file) if parsed.token_file else None,
        ca_file=parsed.ca_file,
        timeout=parsed.timeout,
    )
    return client.exchange(
        parsed.target,
        resource=parsed.resource,
        scopes=parsed.scope,
        lifetime=parsed.lifetime,
        reason=parsed.reason,
    )


def _token(parsed: argparse.Namespace) -> str:
    token = _exchange(parsed)
    if parsed.output == "token":
        return token.value.reveal() + "\n"
    if parsed.output == "env":
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in _variables(token, parsed.variable) if value)
    known = {
        "access_token": token.value.reveal(),
        "token_type": token.token_type,
        "issued_token_type": token.issued_token_type,
        "scope": " ".join(token.scopes),
        "expires_at": _moment(token),
        "exchange_id": token.exchange_id,
        "lease_id": token.lease_id,
    }
    return json.dumps(known) + "\n"


def _variables(token: Token, variable: str) -> list[tuple[str, str]]:
    if token.issued_token_type == TYPE_AWS:
        keys = _aws(token)
        return [
            ("AWS_ACCESS_KEY_ID", keys["AccessKeyId"]),
            ("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"]),
            ("AWS_SESSION_TOKEN", keys["SessionToken"]),
        ]
    if token.issued_token_type == TYPE_BEDROCK:
        return [("AWS_BEARER_TOKEN_BEDROCK", token.value.reveal())]
    return [(variable, token.value.reveal())]


def _credential_process(parsed: argparse.Namespace) -> str:
    token = _exchange(parsed)
    if token.issued_token_type != TYPE_AWS:
        given = token.issued_token_type or "something without a type"
        raise CambioError(
            CODE_MISCONFIGURED, f"the target gives {given}, and no AWS credentials: name a target of AWS's"
        )
    # When they end is told by this machine's clock, which is what AWS's SDKs compare it with.
    return json.dumps({"Version": 1, **_aws(token), "Expiration": _moment(token)}) + "\n"


def _aws(token: Token) -> dict[str, str]:
    try:
        found: Any = json.loads(token.value.reveal())
    except (ValueError, RecursionError):
        found = None
    keys = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    whole = all(isinstance(keys.get(name), str) and keys[name] for name in names)
    chosen = {name: keys[name] for name in names} if whole else {}
    del found, keys
    if not chosen:
        raise CambioError("bad_answer", "the credential is no JSON object of AWS credentials")
    return chosen


def _moment(token: Token) -> str:
    return datetime.fromtimestamp(int(token.expires_at), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main())
