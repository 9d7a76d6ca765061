"""Google Cloud: google-auth."""

import json
import os

import google.auth
import google.auth.exceptions
import google.auth.identity_pool
from google.auth.transport.requests import AuthorizedSession

from .bench import Bench, World

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def ask(at, credentials, method):
    answer = AuthorizedSession(credentials).post(
        f"{at}/v1/projects/cambio-dev/locations/us-central1/publishers/google/models/gemini-flash:{method}",
        json={"contents": [{"role": "user", "parts": [{"text": "Who am I?"}]}]}, timeout=20,
    )
    answer.raise_for_status()
    return answer


def said(answer):
    return answer["candidates"][0]["content"]["parts"][0]["text"]


def vertex(at, credentials):
    return said(ask(at, credentials, "generateContent").json())


def stream(at, credentials):
    lines = ask(at, credentials, "streamGenerateContent?alt=sse").iter_lines()
    return "".join(said(json.loads(line.removeprefix(b"data: "))) for line in lines if line)


def external_account(path, **info):
    with open(path, "w") as f:
        json.dump(dict(type="external_account", subject_token_type="urn:ietf:params:oauth:token-type:jwt", **info), f)
    return path


def default(path):
    """Application default credentials, as any program of Google's finds them."""
    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = path
    return google.auth.default(scopes=SCOPES)[0]


def main():
    world, bench = World(), Bench("gcp")
    says = f"You are {world.gcp['account']}, by an assertion of default:vertex"

    # The file of application default credentials, with Cambio in place of Google's STS:
    # its audience selects the target.
    def ours(audience):
        return default(external_account(
            f"{world.work}/external-account-{audience}.json", audience=audience, token_url=world.url + "/oauth2/token", credential_source={"file": world.token_file},
        ))
    bench.judge("google-auth", "external_account by Cambio, then Vertex", lambda: vertex(world.clouds["gcp"], ours("vertex")), says)
    bench.judge("google-auth", "external_account by Cambio, then Vertex, streaming", lambda: stream(world.clouds["gcp"], ours("vertex")), says)
    bench.refusal("google-auth", "external_account, a target that is not allowed", lambda: vertex(world.clouds["gcp"], ours("github-mcp")),
                  google.auth.exceptions.OAuthError, "invalid_target")

    at = world.sandbox["gcp"]
    own = google.auth.identity_pool.Credentials.from_file(external_account(
        f"{world.work}/federation.json", audience="//iam.googleapis.com/" + world.gcp["provider"], token_url=at + "/v1/token",
        service_account_impersonation_url=f"{at}/v1/projects/-/serviceAccounts/{world.gcp['account']}:generateAccessToken",
        credential_source={"file": world.assertion("gcp")},
    ), scopes=SCOPES)
    bench.judge("google-auth", "external_account by the stand-in, then Vertex", lambda: vertex(at, own), says)


if __name__ == "__main__":
    main()
