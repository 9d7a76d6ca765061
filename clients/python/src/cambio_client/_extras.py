"""The SDKs are optional: what is said where one is missing."""

from __future__ import annotations


def missing(extra: str) -> ImportError:
    """The error for who uses an adapter without its SDK; extra is what brings it along.

    >>> str(missing("aws"))
    "the SDK for this is not installed: pip install 'cambio-client[aws]'"
    """
    return ImportError(f"the SDK for this is not installed: pip install 'cambio-client[{extra}]'")
