"""The package as it is imported."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cambio_client

SRC = Path(__file__).parents[2] / "src"
PACKAGE = SRC / "cambio_client"


def child(program: str) -> str:
    """What a fresh interpreter prints."""
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    line = [sys.executable, "-c", program]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def test_importing_brings_nothing_but_the_standard_library() -> None:
    program = """
import sys
before = set(sys.modules)
import cambio_client
dir(cambio_client)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - {"cambio_client"}))
"""
    assert [name for name in child(program).split() if name not in sys.stdlib_module_names] == []


def at_the_top(tree: ast.Module) -> list[str]:
    """The packages that a module imports when it is imported itself."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_each_module_imports_its_sdk_when_it_is_used(path: Path) -> None:
    imported = at_the_top(ast.parse(path.read_text()))
    assert [name for name in imported if name not in sys.stdlib_module_names] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_each_module_is_an_idea_and_no_more(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_names() -> None:
    named: list[str] = cambio_client.__all__
    assert len(set(named)) == len(named)
    for name in dir(cambio_client):
        assert hasattr(cambio_client, name)
        assert name == "__version__" or not name.startswith("_")
    assert set(named) <= set(dir(cambio_client))
    assert {"http_auth", "OciSigner"} <= set(dir(cambio_client))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(cambio_client, "nothing")  # noqa: B009


@pytest.mark.parametrize("name", sorted(set(dir(cambio_client)) - {"DEFAULT_TOKEN_FILE", "__version__"}))
def test_each_name_says_what_it_is_and_shows_it(name: str) -> None:
    given = getattr(cambio_client, name)
    if name in ("ExchangeRefused", "IdentityError", "Misconfigured", "ServerUnreachable"):
        given = cambio_client.CambioError  # one shows all of them
    doc = inspect.getdoc(given) or ""
    example = re.search(r"^ *(?:from [\w.]+ )?import \w.*", doc, re.MULTILINE | re.DOTALL)
    assert example
    assert "from cambio_client import" in example[0]
    compile(textwrap.dedent(example[0]), name, "exec")


def test_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
