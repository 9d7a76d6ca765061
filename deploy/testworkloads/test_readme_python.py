"""Each Python block of the client's README runs as it stands, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from house import ROOT

README = ROOT / "clients/python/README.md"
# A block that needs what is not here, such as a pod of GitHub's, is marked by such a comment before it, with the reason.
_BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>[^>]*?) -->\n+)?```python\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    line: int
    heading: str
    source: str
    reason: str


def blocks() -> list[Block]:
    text = README.read_text()
    found: list[Block] = []
    for m in _BLOCK.finditer(text):
        before = text[: m.start()]
        headings = re.findall(r"^#+ (.*)$", before, re.MULTILINE)
        line = text[: m.start("source")].count("\n") + 1
        found.append(Block(line, headings[-1] if headings else "", m["source"], m["reason"] or ""))
    return found


def name(block: Block) -> str:
    return f"line {block.line}, {block.heading}"


def test_no_block_is_overlooked() -> None:
    text = README.read_text()
    assert len(blocks()) == len(re.findall(r"^\s*(?:```|~~~)\s*(?:python|py)\b", text, re.MULTILINE)) > 0
    assert text.count("<!-- not run:") == len([b for b in blocks() if b.reason])
    assert all(len(b.reason.split()) > 3 for b in blocks() if b.reason), "say why it cannot be run"


@pytest.mark.parametrize("block", blocks(), ids=name)
def test_block(block: Block, run_python: Callable[..., str]) -> None:
    if block.reason:
        compile(block.source, f"README.md:{block.line}", "exec")
    else:
        run_python("litellm" if "import litellm" in block.source else "newest", block.source)
