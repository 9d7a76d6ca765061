"""`cambio sandbox`, trusting an issuer that is this file: the stand-ins by themselves,
to be judged by the vendors' own federation clients without anything of Cambio's in
between."""

import json
import os
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from .house import plain_environment
from .processes import Program

ISSUER = "https://issuer.judges.example"
LANGUAGES = ("python", "go")  # some stand-ins take an assertion once


class Sandbox:
    def __init__(self, cambio, work):
        self.key = rsa.generate_private_key(65537, 2048)
        keys, ready = f"{work}/keys.json", f"{work}/sandbox.json"
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        with open(keys, "w") as f:
            json.dump({"keys": [public | {"kid": "judges", "alg": "RS256", "use": "sig"}]}, f)
        self.program = Program("sandbox", work, [
            cambio, "sandbox", "--issuer", ISSUER, "--jwks", keys, "--listen", "127.0.0.1:0", "--data", f"{work}/sandbox", "--ready-file", ready,
        ], plain_environment())
        self.program.ready(30, lambda: os.path.exists(ready))
        with open(ready) as f:
            told = json.load(f)
        with open(told["oci_client_secret_file"]) as f:
            self.oci_secret = f.read().strip()
        self.authority = told["ca_file"]
        self.clouds = {one["name"]: one["endpoint"] for one in told["clouds"]}
        self.assertions = f"{work}/assertions"
        os.mkdir(self.assertions, 0o700)
        for one in told["clouds"]:
            self.assert_as(one["name"], one["audience"], one["subject"])
        azure = next(one for one in told["clouds"] if one["name"] == "azure")
        self.assert_as("stranger", azure["audience"], "default:another")

    def assert_as(self, name, audience, subject):
        """Writes an assertion for each language, each with an id of its own."""
        for language in LANGUAGES:
            now = int(time.time())
            text = jwt.encode({
                "iss": ISSUER, "sub": subject, "aud": audience, "iat": now, "exp": now + 600, "jti": str(uuid.uuid4()),
            }, self.key, "RS256", {"kid": "judges"})
            with os.fdopen(os.open(f"{self.assertions}/{language}-{name}.jwt", os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
                f.write(text)
