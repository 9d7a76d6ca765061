"""The running binary: `cambio dev` over its sample policy, with moto as one more
target."""

import json
import os
import shlex
import subprocess

import yaml

from .processes import Program, eventually

MOTO_POLICY = """
targets:
  moto: {{aws: {{role_arn: "arn:aws:iam::123456789012:role/llm", region: us-east-1, endpoint: "{endpoint}", tags: {{namespace: {{attribute: namespace}}}}}}}}
  moto-role: {{aws: {{role_arn: "arn:aws:iam::123456789012:role/llm", region: us-east-1, endpoint: "{endpoint}", method: assume_role, tags: {{namespace: {{attribute: namespace}}}}}}}}
allow:
  - {{name: gateway-tries-moto, subjects: [{{trust: cluster, namespace: llm, service_account: gateway}}], targets: [moto, moto-role]}}
"""


def plain_environment():
    """This one's, without what steers the clients, and with no way out of this machine:
    whatever goes elsewhere than to loopback fails at once."""
    steering = ("AWS_", "AZURE_", "GOOGLE_", "OCI_", "IBM_", "ANTHROPIC_", "OPENAI_", "CAMBIO_", "SSL_", "REQUESTS_", "CURL_")
    e = {k: v for k, v in os.environ.items() if not k.startswith(steering) and not k.lower().endswith("_proxy")}
    nowhere = "http://127.0.0.1:1"
    e |= {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "http_proxy": nowhere, "https_proxy": nowhere, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    e |= {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    return e


class House:
    def __init__(self, cambio, work, moto):
        self.cambio, self.work, self.data = cambio, work, f"{work}/data"
        ready = f"{work}/ready.json"
        environment = plain_environment() | {"SSL_CERT_FILE": moto.authority, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "of-nobody"}
        self.program = Program("dev", work, [
            cambio, "dev", "--data", self.data, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ready-file", ready,
        ], environment)
        self.program.ready(30, lambda: os.path.exists(ready))
        with open(ready) as f:
            self.ready = json.load(f)
        self.token("gateway", "cambio")
        self.token("iam", "iam")
        with open(f"{self.ready['policy_dir']}/moto.yaml", "w") as f:
            f.write(MOTO_POLICY.format(endpoint=moto.endpoint))
        eventually("the policy with moto is in force", 15, lambda: self.exchange("moto").returncode == 0)

    def token(self, name, audience):
        out = subprocess.run([
            self.cambio, "token", "--data", self.data, "--trust", "cluster", "--namespace", "llm", "--service-account", "gateway", "--audience", audience,
        ], check=True, capture_output=True)
        with os.fdopen(os.open(self.file(name), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(out.stdout.strip())

    def file(self, name):
        return f"{self.work}/{name}.jwt"

    def exchange(self, target):
        return subprocess.run([
            self.cambio, "exchange", "--data", self.data, "--target", target, "--subject-token-file", self.file("gateway"), "--output", "token",
        ], capture_output=True)

    def targets(self):
        """The settings of the sample policy's targets, by provider."""
        with open(f"{self.ready['policy_dir']}/clouds.yaml") as f:
            targets = yaml.safe_load(f)["targets"]
        return {provider: settings for target in targets.values() for provider, settings in target.items()}

    def environment(self):
        """What dev tells the vendors' SDKs, for a shell: one export a line."""
        with open(f"{self.data}/clouds.env") as f:
            pairs = (shlex.split(line)[1].partition("=") for line in f if line.startswith("export "))
            return {name: value for name, _, value in pairs}
