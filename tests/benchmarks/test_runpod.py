"""A rented GPU: what is asked for, what it may cost, and that the pod is ended whatever happens.

The API and the pod are played by one HTTP server here. It accepts what RunPod's OpenAPI document accepts, no more.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks import runpod
from benchmarks.runpod_rental import Rental, write_script

CARD = "NVIDIA A100 80GB PCIe"
CREATE_POD = {
    "type": "object",
    "required": ["name", "image", "gpu"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "image": {"type": "string"},
        "args": {"type": "string"},
        "disk": {"type": "integer", "minimum": 1},
        "ports": {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+/(http|tcp)$"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "cloud": {"enum": ["SECURE", "COMMUNITY"]},
        "gpu": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {"id": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
        },
    },
}


def pack(**files: bytes) -> bytes:
    """Make a pod's archive; `/` in a name is written `__`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_json", ".json").replace("_", "-"), content)
    return buffer.getvalue()


GOOD = pack(gpu__nvidia_a100__result_json=b"{}", **{"pod_log.txt": b"fine\n", "exit_code": b"0\n"})


class FakeRunPod:
    """RunPod's API and the pod's own web server, with what was asked of them.

    Attributes:
        served: what the pod's archive is; None: it never has one.
        statuses: of the pod, one after the other; the last one stays.
        loses_answer: the pod is created, and the answer lost.
        failures: so many requests are answered with 500 first.
    """

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        self.served: bytes | None = GOOD
        self.statuses = ["STARTING", "RUNNING"]
        self.price = 1.5
        self.loses_answer = False
        self.failures = 0
        self.key = "secret-key"
        self.requests: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, key: str, body: bytes) -> tuple[int, Any]:
        """Return status and content: JSON, or the archive's bytes."""
        if path.endswith(".zip"):
            named = any(path == f"/{record['token']}.zip" for record in self.pods.values())
            return (200, self.served) if self.served is not None and named else (404, None)
        if key != f"Bearer {self.key}":
            return 401, {"title": "Unauthorized", "status": 401, "detail": "bad key"}
        if self.failures:
            self.failures -= 1
            return 500, {"title": "Error", "status": 500, "detail": "try again"}
        if (method, path) == ("GET", "/v2/catalog/gpus"):
            card = {"id": CARD, "price": {"secure": 1.5, "community": 1.0}, "secure": True, "community": False}
            return 200, {"gpus": [card]}
        if (method, path) == ("GET", "/v2/pods"):
            return 200, {"pods": list(self.pods.values())}
        if (method, path) == ("POST", "/v2/pods"):
            return self.create(json.loads(body))
        pod_id = path.rpartition("/")[2]
        if pod_id not in self.pods:
            return 404, {"title": "Not Found", "status": 404, "detail": "pod not found"}
        if method == "DELETE":
            del self.pods[pod_id]
            self.deleted.append(pod_id)
            return 204, None
        self.pods[pod_id]["status"] = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return 200, self.pods[pod_id]

    def create(self, request: dict[str, Any]) -> tuple[int, Any]:
        """Create a pod if its request is what the API documents."""
        try:
            jsonschema.validate(request, CREATE_POD)
        except jsonschema.ValidationError as error:
            return 422, {"title": "Unprocessable", "status": 422, "detail": "bad body", "errors": [error.message]}
        self.requests.append(request)
        script = base64.b64decode(request["args"].split()[3]).decode()
        token = script.partition("/serve/part.zip /serve/")[2].partition(".zip")[0]
        pod = {"id": "p1", "name": request["name"], "status": "PROVISIONING", "cost": self.price, "token": token}
        self.pods["p1"] = pod
        return (500, {"title": "Error", "status": 500, "detail": "lost"}) if self.loses_answer else (201, pod)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRunPod]:
    """The fake, serving; its address is in `fake.address`."""
    state = FakeRunPod()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = state.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Nothing: what a test prints is what the command prints."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("RUNPOD_API_KEY", state.key)
    state.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


Command = Callable[..., int]


@pytest.fixture
def command(fake: FakeRunPod, tmp_path: Path) -> Command:
    """The command, against the fake, on a clock that waiting moves."""
    times = [0.0]

    def wait(seconds: float) -> None:
        times[0] += seconds

    def call(*arguments: str) -> int:
        source = ["--repository", "https://example.org/turngap.git", "--commit", "abc", "--out", str(tmp_path)]
        address = fake.address  # type: ignore[attr-defined]
        given = ["--gpu", CARD, *source, *arguments]
        return runpod.main(given, address, address + "/", wait, lambda: times[0])

    return call


def test_results_come_home_and_the_pod_is_ended(fake: FakeRunPod, command: Command, tmp_path: Path) -> None:
    """`results/gpu/CARD/` and the pod's log; the exit code is the measurement's."""
    assert command("--", "--turns", "60") == 0
    assert (tmp_path / "gpu/nvidia-a100/result.json").read_bytes() == b"{}"
    assert (tmp_path / "gpu/pod-log.txt").read_text() == "fine\n"
    assert fake.deleted == ["p1"]
    (request,) = fake.requests
    script = base64.b64decode(request["args"].split()[3]).decode()
    assert "tox -e gpu -- --turns 60" in script
    assert "fetch -q --depth 1 https://example.org/turngap.git abc" in script
    assert fake.key not in json.dumps(request) + script


def test_a_failed_measurement_keeps_its_exit_code(fake: FakeRunPod, command: Command) -> None:
    """With the log that says why."""
    fake.served = pack(**{"pod_log.txt": b"no GPU\n", "exit_code": b"1\n"})
    assert command() == 1
    assert fake.deleted == ["p1"]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_pods_script_is_a_script() -> None:
    """Bash accepts it, whatever the options hold."""
    rental = Rental(CARD, "SECURE", "i", "https://e.org/a b", "c", ("--set", "llm.command=['a b']"), 60, "t", {})
    done = subprocess.run(["bash", "-n"], input=write_script(rental), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sleep 3600; end_pod" in write_script(rental)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--most-dollars", "1"), "60 minutes at $1.50 an hour are $1.50, more than --most-dollars 1"),
        (("--cloud", "COMMUNITY"), "is not offered in the cloud COMMUNITY"),
        (("--gpu", "NVIDIA A100 80GB"), f"there are {CARD}"),
    ],
)
def test_nothing_is_rented_that_costs_too_much_or_is_not_there(
    fake: FakeRunPod, command: Command, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    """One line, and no request for a pod."""
    assert command(*arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not fake.requests


def test_a_pod_dearer_than_its_list_price_is_ended_at_once(
    fake: FakeRunPod, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is billed is what the pod says, not the catalogue."""
    fake.price = 9.0
    assert command() == 2
    assert "more than --most-dollars" in capsys.readouterr().err
    assert fake.deleted == ["p1"]


def test_a_pod_whose_creation_was_not_answered_is_found_and_ended(fake: FakeRunPod, command: Command) -> None:
    """By its name, which no other pod has."""
    fake.loses_answer = True
    assert command() == 2
    assert fake.deleted == ["p1"]


@pytest.mark.parametrize(
    ("served", "statuses", "text"),
    [
        (None, ["RUNNING"], "had no results after 60 minutes"),
        (None, ["RUNNING", "EXITED"], "is EXITED before it had results"),
        (b"not a zip", ["RUNNING"], "cannot be read"),
        (pack(**{"..__evil": b"", "exit_code": b"0"}), ["RUNNING"], "outside its folder"),
        (pack(gpu__card__result_json=b"{}"), ["RUNNING"], "cannot be read"),
    ],
    # An archive has the time in it: as a name it would differ between workers.
    ids=("none", "ended", "no archive", "climbs", "no result"),
)
def test_a_pod_without_results_is_ended_and_nothing_is_written(
    fake: FakeRunPod,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    served: bytes | None,
    statuses: list[str],
    text: str,
) -> None:
    """The last line says why."""
    fake.served, fake.statuses = served, statuses
    assert command() == 2
    assert text in capsys.readouterr().err.splitlines()[-1]
    assert fake.deleted == ["p1"]
    assert list(tmp_path.iterdir()) == []


def test_errors_of_a_moment_are_asked_again(fake: FakeRunPod, command: Command) -> None:
    """All but the creation."""
    fake.failures = 3
    assert command() == 0


def test_a_refused_key_is_one_line(
    fake: FakeRunPod, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variable, never its value."""
    monkeypatch.setenv("RUNPOD_API_KEY", "wrong")
    assert command() == 2
    error = capsys.readouterr().err
    assert "the key in RUNPOD_API_KEY is refused" in error
    assert "wrong" not in error


def test_a_pod_that_cannot_be_ended_is_said_loudly(
    fake: FakeRunPod, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may go on to cost."""
    answer = fake.answer

    def refuse(method: str, path: str, key: str, body: bytes) -> tuple[int, Any]:
        problem = {"title": "Error", "status": 500, "detail": "down"}
        return (500, problem) if method == "DELETE" else answer(method, path, key, body)

    monkeypatch.setattr(fake, "answer", refuse)
    assert command() == 2
    assert "MAY STILL RUN" in capsys.readouterr().err.splitlines()[-1]


def test_a_dry_run_asks_nobody_and_shows_no_secret(
    fake: FakeRunPod, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints the request and the script."""
    monkeypatch.setenv("HF_TOKEN", "hf_hidden")
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert command("--dry-run", "--env", "HF_TOKEN") == 0
    printed = capsys.readouterr().out
    assert '"HF_TOKEN": "(as here)"' in printed
    assert "hf_hidden" not in printed
    assert "tox -e gpu" in printed
    assert not fake.requests


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--minutes", "1"), "--minutes"),
        (("--most-dollars", "nan"), "--most-dollars"),
        (("--env", "NOT_SET_HERE"), "--env NOT_SET_HERE"),
    ],
)
def test_bad_arguments_are_refused(
    command: Command, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit, match="2"):
        command(*arguments)
    assert text in capsys.readouterr().err
