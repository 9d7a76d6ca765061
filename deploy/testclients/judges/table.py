"""The table at the end."""

import re

ORDER = ("aws", "azure", "gcp", "oci", "ibm", "anthropic", "openai")

# Tokens and keys that an exception may quote.
SECRET = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|sk-ant-[\w-]+|oat_\w+|bedrock-api-key-\S+|ST\$\S+|\"(?:SecretAccessKey|SessionToken)\": ?\"[^\"]+")


def order(verdicts):
    place = {provider: i for i, provider in enumerate(ORDER)}
    verdicts.sort(key=lambda v: (place.get(v["provider"], -1), v["language"], v["client"]))


def show(verdicts):
    """Prints the table, and in full whatever failed. True: nothing did."""
    order(verdicts)
    rows = [("client", "version", "provider", "what was done", "result")]
    rows += [(f"{v['client']} ({v['language']})", v["version"], v["provider"], v["what"], "ok" if v["ok"] else "FAILED") for v in verdicts]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    failed = [v for v in verdicts if not v["ok"]]
    for v in failed:
        print(f"\n--- {v['client']} {v['version']}, {v['what']}:\n{SECRET.sub('(secret)', v['answer'])}")
    clients = {(v["client"], v["language"]) for v in verdicts}
    print(f"\n{len(clients)} clients, {len(verdicts) - len(failed)} passed, {len(failed)} failed")
    return not failed
