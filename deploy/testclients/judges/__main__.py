"""Starts the running binary, the stand-ins and moto, lets every judge loose on them,
two at a time, and prints the table.

    python -m judges CAMBIO GOCLIENTS DOCUMENT

DOCUMENT is the page that lists the clients; it has to be current.
"""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile

from .document import current
from .house import House, plain_environment
from .moto import Moto
from .processes import Program
from .sandbox import Sandbox
from .table import show

JUDGES = ("aws", "moto", "azure", "gcp", "oci", "ibm", "claude", "gpt")


def main(cambio, goclients, page):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    with tempfile.TemporaryDirectory() as work:
        try:
            moto = Moto(work, plain_environment())
            house = House(cambio, work, moto)
            sandbox = Sandbox(cambio, work)
            verdicts = sit(world(cambio, work, moto, house, sandbox), house, sandbox, goclients)
        finally:
            Program.stop_all()
    passed = show(verdicts)
    return 0 if passed and current(verdicts, page) else 1


def world(cambio, work, moto, house, sandbox):
    """What bench.World and the Go clients read."""
    targets = house.targets()
    world = {
        "cambio": cambio, "work": work, "data": house.data, "url": house.ready["url"], "clouds": house.ready["clouds"],
        "token_file": house.file("gateway"), "iam_token_file": house.file("iam"),
        "moto": {"endpoint": moto.endpoint, "authority": moto.authority},
        "sandbox": sandbox.clouds, "assertions": sandbox.assertions,
        "aws": {"role": targets["aws"]["role_arn"]},
        "azure": {"tenant": targets["azure"]["tenant_id"], "client": targets["azure"]["client_id"]},
        "gcp": {"provider": targets["gcp"]["provider"], "account": targets["gcp"]["service_account"]},
        "oci": {"client": targets["oci"]["client_id"], "secret": sandbox.oci_secret},
        "ibm": {"profile": targets["ibm"]["profile_id"]},
        "anthropic": {
            "rule": targets["anthropic"]["federation_rule_id"], "organization": targets["anthropic"]["organization_id"],
            "account": targets["anthropic"]["service_account_id"],
        },
        "openai": {"pool": targets["openai"]["identity_provider_id"], "account": targets["openai"]["service_account_id"]},
    }
    path = f"{work}/world.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        json.dump(world, f)
    return path


def sit(path, house, sandbox, goclients):
    """Runs the judges; each prints a line of JSON for each deed."""
    told = house.environment()
    both = f"{house.work}/authorities.pem"
    with open(both, "w") as f:
        for one in (told["SSL_CERT_FILE"], sandbox.authority):
            with open(one) as authority:
                f.write(authority.read())
    environment = plain_environment() | told | {name: both for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")} | {"JUDGES_WORLD": path}

    def run(command):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
            verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            fault = f"ended with {done.returncode}:\n{done.stderr[-4000:]}" if done.returncode != 0 or not verdicts else ""
        except subprocess.TimeoutExpired:
            verdicts, fault = [], "did not end in time"
        if fault:
            verdicts.append({"client": command[-1], "version": "", "language": "", "provider": "", "what": "the judge itself", "ok": False, "answer": fault})
        return verdicts

    commands = [[goclients]] + [[sys.executable, "-m", f"judges.{name}"] for name in JUDGES]
    with concurrent.futures.ThreadPoolExecutor(2) as bench:
        return [verdict for verdicts in bench.map(run, commands) for verdict in verdicts]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
