"""The page that lists what Cambio was checked against."""

import os

HEAD = """# Checked against

The vendors' own clients, unmodified, with what Cambio vends. `make test-clients` runs
them against the stand-ins that `cambio dev` and `cambio sandbox` play, never
against the providers themselves, and writes this page with `CLIENTS_WRITE=1`. What
follows "refused" is something that has to fail, as that client tells it. moto believes
whatever it is told: it says that the wire's shape is right, and no more.

| client | version | provider | what was done |
|---|---|---|---|
"""


def current(verdicts, page):
    """Whether the page says what was done; it is written where that is asked for."""
    rows = {}
    for v in verdicts:
        rows.setdefault((v["provider"], v["client"], v["language"], v["version"]), []).append(v["what"])
    text = HEAD + "".join(
        f"| {client} ({language}) | {version} | {provider} | {'; '.join(what)} |\n" for (provider, client, language, version), what in rows.items()
    )
    if os.environ.get("CLIENTS_WRITE"):
        with open(page, "w") as f:
            f.write(text)
        return True
    try:
        with open(page) as f:
            if f.read() == text:
                return True
    except FileNotFoundError:
        pass
    print("docs/clients.md is not current: CLIENTS_WRITE=1 make test-clients writes it")
    return False
