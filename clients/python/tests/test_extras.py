from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import Cambio

import cambio_client

SOURCE = Path(cambio_client.__file__).parent

ADAPTERS = {
    "anthropic_client": ("anthropic", "anthropic"),
    "async_anthropic_client": ("anthropic", "anthropic"),
    "async_azure_openai_client": ("openai", "openai"),
    "async_openai_client": ("openai", "openai"),
    "async_azure_credential": ("azure.core", "azure"),
    "azure_credential": ("azure.core", "azure"),
    "azure_openai_client": ("openai", "openai"),
    "boto3_session": ("boto3", "aws"),
    "async_google_credentials": ("google.auth", "google"),
    "google_credentials": ("google.auth", "google"),
    "mcp_http_client": ("httpx2", "mcp"),
    "openai_client": ("openai", "openai"),
}
"""The SDK that each is for, and the extra that brings it along."""


@pytest.mark.parametrize("name", ADAPTERS)
def test_who_lacks_an_sdk_is_told_what_to_install(cambio: Cambio, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk, extra = ADAPTERS[name]
    for loaded in list(sys.modules):
        if loaded == sdk or loaded.startswith(sdk + "."):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, sdk, None)
    for maker in ("_class", "_aio_class"):
        getattr(importlib.import_module("cambio_client._google"), maker).cache_clear()

    with pytest.raises(ImportError, match=re.escape(f"pip install 'cambio-client[{extra}]'")):
        getattr(cambio_client, name)(cambio.source())


def test_who_lacks_hvac_is_told(cambio: Cambio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'cambio-client[vault]'")):
        cambio_client.hvac_client("http://127.0.0.1:1", cambio.source())


def test_the_extras_that_are_named_exist() -> None:
    named = {m for file in SOURCE.glob("_*.py") for m in re.findall(r'missing\("(\w+)"\)', file.read_text())}
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    extras = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert named
    assert named <= set(re.findall(r"^(\w+) =", extras, re.MULTILINE))


def test_adapters_import_nothing_until_they_are_called() -> None:
    names = sorted({*ADAPTERS, "http_auth", "hvac_client", "vault_secret"})
    sdks = "anthropic azure boto3 botocore google httpx httpx2 hvac mcp openai requests"
    program = f"""
import sys, cambio_client
for name in {names!r}:
    assert callable(getattr(cambio_client, name))
found = sorted(set({sdks.split()!r}) & {{m.split(".")[0] for m in sys.modules}})
assert found == [], found
"""
    path = str(SOURCE.parent)
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{program}"], check=True)


def test_everything_is_found_by_its_name() -> None:
    names = set(dir(cambio_client))
    assert names >= {*ADAPTERS, "http_auth", "VaultSecret"}
    for name in names:
        assert getattr(cambio_client, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = cambio_client.nothing_of_the_kind
