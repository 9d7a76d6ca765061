"""google-auth by application default credentials, against Vertex."""

import functools
import os

import google.auth
from google.auth.transport.requests import AuthorizedSession


@functools.cache
def session():
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return AuthorizedSession(credentials), project


def vertex():
    authorized, project = session()
    answer = authorized.post(
        f"{os.environ['VERTEX_ENDPOINT']}/v1/projects/{project}/locations/us-central1/publishers/google/models/gemini-flash:generateContent",
        json={"contents": [{"role": "user", "parts": [{"text": "Who am I?"}]}]},
        timeout=20,
    )
    answer.raise_for_status()
    return answer.json()["candidates"][0]["content"]["parts"][0]["text"]


def project():
    return session()[1]


CALLS = {"vertex": vertex, "project": project}
