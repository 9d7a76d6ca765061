"""How a judge says what came of it: one line of JSON for each client and deed."""

import json
import os
import subprocess
import traceback
from importlib import metadata


class World:
    """Where everything is; see house.py."""

    def __init__(self):
        with open(os.environ["JUDGES_WORLD"]) as f:
            self.__dict__ = json.load(f)

    def exchange(self, target, *arguments):
        """What `cambio exchange` gives a workload for a target: the credential."""
        out = subprocess.run(
            [self.cambio, "exchange", "--data", self.data, "--target", target, "--subject-token-file", self.token_file, "--output", "token", *arguments],
            check=True, capture_output=True, text=True, timeout=30,
        )
        return out.stdout.strip()

    def assertion(self, provider):
        """An assertion of the issuer that the stand-ins by themselves trust: one file
        for each language, since some take it once."""
        return f"{self.assertions}/python-{provider}.jwt"


class Bench:
    """The judges of one provider."""

    def __init__(self, provider):
        self.provider = provider

    def judge(self, client, what, deed, *says):
        """A deed succeeds, and what it returns says all of this."""
        answer = ""
        try:
            answer = str(deed())
            ok = all(text in answer for text in says)
            if not ok:
                answer = f"{answer!r} does not say {says}"
        except Exception:
            ok, answer = False, f"{answer}\n{traceback.format_exc()}"
        self._tell(client, what, ok, answer)

    def refusal(self, client, what, deed, kind, *says):
        """A deed fails as the client tells that failure, in these words."""
        try:
            answer, ok = f"was not refused: {deed()}", False
        except kind as e:
            answer = f"{type(e).__name__}: {e}"
            ok = all(text in answer for text in says)
            if not ok:
                answer += f" does not say {says}"
        except Exception:
            ok, answer = False, traceback.format_exc()
        self._tell(client, "refused: " + what, ok, answer)

    def _tell(self, client, what, ok, answer):
        print(json.dumps({
            "client": client, "version": metadata.version(client), "language": "Python", "provider": self.provider, "what": what,
            "ok": ok, "answer": answer,
        }), flush=True)
