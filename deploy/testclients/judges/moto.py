"""AWS as moto plays it: the wire's shape, and no more, since it believes everything.
What the driver sends, it takes; what it answers, the driver takes."""

import datetime
import ipaddress
import json
import sys

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .bench import Bench, World
from .processes import Program, answers, free_port


class Moto:
    """moto_server, over TLS, with a certificate that is its own authority."""

    def __init__(self, work, environment):
        self.authority, key = f"{work}/moto.pem", f"{work}/moto.key"
        certify(self.authority, key)
        port = free_port()
        self.endpoint = f"https://127.0.0.1:{port}"
        self.program = Program("moto", work, [
            sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), "-s", "-c", self.authority, "-k", key,
        ], environment)
        self.program.ready(60, lambda: answers(port))


def certify(certificate, key):
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "moto on this machine")])
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number(), now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, False, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
        .sign(private, hashes.SHA256())
    )
    with open(certificate, "wb") as f:
        f.write(signed.public_bytes(serialization.Encoding.PEM))
    with open(key, "wb") as f:
        f.write(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def main():
    world, bench = World(), Bench("aws")

    def who(target):
        keys = json.loads(world.exchange(target))
        return boto3.client(
            "sts", region_name="us-east-1", endpoint_url=world.moto["endpoint"], verify=world.moto["authority"],
            aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
        ).get_caller_identity()["Arn"]
    bench.judge("moto", "the driver's AssumeRoleWithWebIdentity, then boto3", lambda: who("moto"), "assumed-role/llm/cambio-")
    bench.judge("moto", "the driver's AssumeRole, then boto3", lambda: who("moto-role"), "assumed-role/llm/cambio-")


if __name__ == "__main__":
    main()
