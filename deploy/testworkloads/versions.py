"""What the SDKs' versions are, by the files that say so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
GO = HERE / "gosdks"
MODS = {"newest": "go.mod", "oldest": "oldest.mod"}
REQUIREMENTS = {"newest": "requirements.txt", "oldest": "requirements-oldest.txt", "litellm": "requirements-litellm.txt"}


def python(which: str) -> dict[str, str]:
    """The packages of an environment of the suite's, by name."""
    lines = (HERE / REQUIREMENTS[which]).read_text().split()
    return dict(line.split("==") for line in lines)


def go(which: str) -> dict[str, str]:
    """The modules that gosdks itself uses, by path."""
    done = subprocess.run(["go", "mod", "edit", "-json", MODS[which]], cwd=GO, capture_output=True, text=True, check=True)
    return {m["Path"]: m["Version"].removeprefix("v") for m in json.loads(done.stdout)["Require"] if not m.get("Indirect")}


def linked(binary: Path) -> dict[str, str]:
    """The modules of a Go program, as it says itself."""
    done = subprocess.run(["go", "version", "-m", str(binary)], capture_output=True, text=True, check=True)
    rows = (line.split() for line in done.stdout.splitlines()[1:])
    return {row[1]: row[2].removeprefix("v") for row in rows if row[0] == "dep"}
