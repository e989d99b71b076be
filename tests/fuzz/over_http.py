"""The agent's HTTP interface, fuzzed over sockets by schemathesis: `python -m tests.fuzz.over_http [--seconds 60]`.

The agent serves no schema of itself, so one is made here of the application's own routes, with all that each may
answer. Two agents are asked: one that checks signatures and one that does not. Exit code 1 if an answer was not one of
those, if there was none, or if the agent did not live on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turngap_agent.telephony import VOICE_PATH

from tests.fuzz.http_targets import TOKEN, make_app

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
HEADERS = (
    "X-Twilio-Signature",
    "X-Twilio-Webhooks-Signature-Settings",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-For",
    "Authorization",
)
TEXT, XML, PROMETHEUS = "text/plain", "application/xml", "text/plain; version=0.0.4"
ANSWERS = {
    (VOICE_PATH, "post"): {"200": XML, "400": TEXT, "403": TEXT, "408": TEXT, "413": TEXT},
    ("/healthz", "get"): {"200": "application/json"},
    ("/readyz", "get"): {"200": TEXT},
    ("/metrics", "get"): {"200": PROMETHEUS, "403": TEXT},
}
"""By route, the media type of each status that an agent answers with while it serves."""


def make_schema() -> dict[str, Any]:
    """Return the application's OpenAPI document, with what FastAPI cannot know of it.

    Raises:
        ValueError: the application has other routes than those of `ANSWERS`.
    """
    schema: dict[str, Any] = make_app(signed=False).openapi()
    routes = {(path, method) for path, methods in schema["paths"].items() for method in methods}
    if routes != set(ANSWERS):
        raise ValueError(f"routes without known answers: {sorted(routes ^ set(ANSWERS))}")
    text = {"type": "string"}
    for (path, method), answers in ANSWERS.items():
        operation = schema["paths"][path][method]
        operation["responses"] = {
            status: {"description": status, "content": {media: {} if media == "application/json" else {"schema": text}}}
            for status, media in answers.items()
        }
        operation["parameters"] = [{"name": name, "in": "header", "schema": text} for name in HEADERS]
        operation["parameters"].append({"name": "a", "in": "query", "schema": text})
    form = {"type": "object", "properties": dict.fromkeys(("CallSid", "From", "To", "CallStatus"), text)}
    body = {"application/x-www-form-urlencoded": {"schema": form}, "application/octet-stream": {"schema": text}}
    schema["paths"][VOICE_PATH]["post"]["requestBody"] = {"content": body}
    return schema


@contextlib.contextmanager
def serve(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start an agent; yield its process and its URL."""
    command = [sys.executable, "-m", "turngap_agent", "serve", "--profile", "scripted", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["http"]
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each agent (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    worst = 0
    with tempfile.TemporaryDirectory(prefix="turngap-fuzz-") as folder:
        path = Path(folder) / "schema.json"
        path.write_text(json.dumps(make_schema()), "utf-8")
        for name, environment in (("unsigned", {}), ("signed", {"TWILIO_AUTH_TOKEN": TOKEN})):
            print(f"an agent that is {name}", flush=True)
            with serve(environment) as (process, url):
                command = [sys.executable, "-m", "schemathesis.cli", "run", str(path), "--url", url]
                command += ["--checks", ",".join(CHECKS), "--max-time", str(options.seconds), "--warnings", "off"]
                command += ["--seed", str(options.seed), "--continue-on-failure"]
                worst = max(worst, subprocess.run(command, cwd=folder, check=False).returncode)
                if process.poll() is not None:
                    print(f"the agent ended with code {process.returncode}")
                    worst = max(worst, 1)
                    continue
                with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:  # our own agent
                    assert answer.status == 200
    return min(worst, 1)


if __name__ == "__main__":
    sys.exit(main())
