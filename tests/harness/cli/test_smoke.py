"""Pins `turngap smoke` as a user runs it: the loop against the fake, the files it leaves, and what it refuses.

Real processes in real time on a machine that may be busy: the assertions are about logic and order, not about timing.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from turngap.cli import smoke as smoke_command
from turngap.processes import child

NUMBER = re.compile(rb"\+1500555\d{4}|1500555\d{4}")
SID = re.compile(rb"\b(?:AC|CA|MZ|SK|RE|PN)[0-9a-f]{32}\b")
TIMEOUT_S = 280
SOME_TURNS_S = 15
"""After this time a call has finished some of its turns, of about two seconds each."""
MAX_LATENESS_MS = 5.0
"""A turn in which the instrument was later than this is `invalid`."""
SECRETS = {
    "TWILIO_ACCOUNT_SID": "AC" + "a1" * 16,
    "TWILIO_API_KEY": "SK" + "b2" * 16,
    "TWILIO_API_SECRET": "c3" * 16,
    "TWILIO_AUTH_TOKEN": "d4" * 16,
    "HF_TOKEN": "hf_" + "e5" * 16,
    "TURNGAP_AGENT_NUMBER": "+15005550011",
    "TURNGAP_CALLER_NUMBER": "+15005550010",
    "TURNGAP_ALLOWED_NUMBERS": "+15005550010,+15005550011",
}


def smoke(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, with a ledger of its own."""
    env = {key: value for key, value in os.environ.items() if key != "CI"}
    env |= {"TURNGAP_LIVE_LEDGER": str(folder / "ledger.json")} | variables
    return subprocess.run(
        child.python_command("turngap", "smoke", *arguments),
        cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def on_a_free_port(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it at a free port; try another one if the port was taken meanwhile."""
    for _ in range(5):
        done = smoke(folder, *arguments, "--port", str(_free_port()), **variables)
        if "can't listen at" not in done.stderr:
            break
    return done


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return every file and output that contains a number, a SID or a secret."""
    secrets = [value.encode() for key, value in SECRETS.items() if key.startswith(("TWILIO", "HF"))]
    names = []
    blobs = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    blobs |= {f"output {place}": text.encode() for place, text in enumerate(texts)}
    for name, blob in blobs.items():
        if NUMBER.search(blob) or SID.search(blob) or any(secret in blob for secret in secrets):
            names.append(name)
    return names


def turns_of(folder: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / document["run"] / "turns.jsonl").read_text().splitlines()]


def check_late_turns(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the turns that are `invalid`, after checking that the instrument was late in each."""
    late = [turn for turn in turns if turn["outcome"] == "invalid"]
    assert all(max(turn["lateness_send_ms"], turn["lateness_recv_ms"]) > MAX_LATENESS_MS for turn in late)
    return late


@pytest.mark.timeout(300)
def test_the_whole_loop_leaks_no_secret(tmp_path: Path) -> None:
    """Both legs, an echo and the recording are measured; no number, SID or secret is in any file or line."""
    done = smoke(
        tmp_path, "--fake", "--uplink-ms", "60", "--downlink-ms", "90", "--turns", "2", "--echo", "--record", "--json",
        **SECRETS,
    )  # fmt: skip
    assert done.returncode in (0, 2), done.stderr
    document = json.loads(done.stdout)
    assert list(document)[:4] == ["uplink_ms", "server_gap_ms", "downlink_ms", "total_ms"]
    turns = turns_of(tmp_path, document)
    assert [turn["call"] for turn in turns] == [0, 0]
    measured = [turn["live"] for turn in turns if turn["live"] and turn["live"]["total_ms"] is not None]
    assert measured, done.stderr
    # The loop takes at least the injected delays; how much more, and on which leg, depends on the machine.
    assert max(legs["total_ms"] for legs in measured) > 430
    for legs in measured:
        parts = legs["uplink_ms"] + legs["server_gap_ms"] + legs["downlink_ms"]
        assert legs["total_ms"] == pytest.approx(parts, abs=0.01)
    assert document["witness"]["n"] >= 1
    assert document["floor_ms"] > 150
    run = json.loads((tmp_path / document["run"] / "run.json").read_text())
    # One turn that the instrument spoilt is left out of the figures; nothing is measured only if all are.
    spoilt = len(check_late_turns(turns)) == len(turns)
    assert run["verdict"] == ("INVALID" if spoilt else "MEASURED")
    assert done.returncode == (2 if spoilt else 0)
    assert spoilt or run["sentence"].startswith(f"Live, diagnostic, not judged: {document['total_ms']:.0f} ms")
    assert run["live"]["calls"] == 2
    report = next((tmp_path / "reports").glob("*.html")).read_text()
    assert "Live, diagnostic" in report
    assert "never subtracted" in report
    assert leaks(tmp_path, done.stdout, done.stderr) == []
    assert "ledger" not in {file.stem for file in tmp_path.iterdir()}


@pytest.mark.timeout(300)
def test_a_profiles_agent_answers_the_call(tmp_path: Path) -> None:
    """Its spans are joined under an alias, and its stages add up to the server gap."""
    from tests.harness.tones import scenario_of_tones

    scenario = scenario_of_tones(tmp_path, 1)
    done = smoke(
        tmp_path, "--fake", "--profile", "scripted", "--scenario", str(scenario), "--turns", "1", "--json", **SECRETS
    )
    (turn,) = turns_of(tmp_path, json.loads(done.stdout))
    late = check_late_turns([turn])
    assert done.returncode == (2 if late else 0), done.stderr
    assert turn["outcome"] == ("invalid" if late else "answered"), done.stderr
    assert turn["call_sid"] == "live-0"
    assert turn["transcript"] == "scripted words"
    exposed_ms = sum(stage["exposed_ms"] for stage in turn["stages"].values())
    assert exposed_ms == pytest.approx(turn["live"]["server_gap_ms"], abs=0.01)
    assert leaks(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("busy", "the line was busy"),
        ("voicemail", "a machine answered"),
        ("lost", "1 call left by this request was ended"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--record",)])
def test_a_failed_call_is_one_error_line(tmp_path: Path, does: str, message: str, options: tuple[str, ...]) -> None:
    """The line says what happened; exit code 2, an INVALID run, no leak, and no recording stays at Twilio."""
    to = ["--to", "+15005550099"] if does in ("voicemail", "lost") else []
    done = smoke(tmp_path, "--fake", "--fake-does", does, *to, *options, **SECRETS)
    assert "check its console" not in done.stdout + done.stderr
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    (record,) = (tmp_path / "results").glob("*/run.json")
    assert json.loads(record.read_text())["verdict"] == "INVALID"
    assert leaks(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.timeout(300)
def test_a_call_that_twilio_ends_keeps_its_turns(tmp_path: Path) -> None:
    """Turns that were never spoken are failed, with the reason."""
    done = smoke(tmp_path, "--fake", "--fake-does", "ended", "--turns", "6", "--json")
    turns = turns_of(tmp_path, json.loads(done.stdout))
    assert len(turns) == 6
    assert turns[-1]["outcome"] == "failed"
    assert "Twilio ended the stream" in turns[-1]["detail"]


@pytest.mark.timeout(300)
def test_a_connection_that_breaks_fails_what_was_not_answered(tmp_path: Path) -> None:
    """The turns before the break are kept, and those after it give the reason."""
    network = tmp_path / "broken.yaml"
    network.write_text("name: broken\ndisconnect_after_s: 6\n")
    done = smoke(tmp_path, "--fake", "--network", str(network), "--turns", "30", "--json")
    turns = turns_of(tmp_path, json.loads(done.stdout))
    assert len(turns) == 30
    assert turns[-1]["outcome"] == "failed"
    assert "the connection broke (the stream broke off" in turns[-1]["detail"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [(), ("--record",)])
def test_ctrl_c_ends_the_current_call_and_keeps_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    """One line, exit code 2; the finished turns are in the run, and its record says that it was interrupted.

    If the call was recorded, no recording stays at Twilio.
    """
    env = dict(os.environ) | {"TURNGAP_LIVE_LEDGER": str(tmp_path / "ledger.json")}
    command = child.python_command("turngap", "smoke", "--fake", "--turns", "40", *options)
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "turns to be scored" in line:
                time.sleep(SOME_TURNS_S)
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 2, rest
    assert rest.count("the run was interrupted; the current call was ended, its finished turns are kept") == 1
    assert "Traceback" not in rest
    (record,) = (tmp_path / "results").glob("*/run.json")
    assert 0 < len(record.with_name("turns.jsonl").read_text().splitlines()) < 40
    run = json.loads(record.read_text())
    assert not run["complete"]
    assert run["verdict"] == "INVALID"
    assert any("interrupted" in reason for reason in run["reasons"])
    assert not any("may still be at Twilio" in note for note in run["notes"])


def test_a_dry_run_uses_no_network(tmp_path: Path) -> None:
    """It prints what would be done and what it may cost, with masked numbers, and records nothing in the ledger."""
    arguments = ("--dry-run", "--json", "--confirm", "+15005550011", "--public-url", "https://a.invalid", "--port", "0")
    assert smoke(tmp_path, *arguments, **SECRETS).returncode == 3  # nothing can be forwarded to port 0
    done = on_a_free_port(tmp_path, *arguments[:-2], **SECRETS)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["to"] == "+…11"
    assert plan["worst_case_usd"] > 0
    assert not (tmp_path / "ledger.json").exists()
    assert leaks(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.parametrize(
    ("variables", "arguments", "message"),
    [
        ({}, ("--confirm", "+15005550010"), "--confirm names another number"),
        ({"CI": "true"}, ("--confirm", "+15005550011", "--in-ci"), "TURNGAP_LIVE_IN_CI=true"),
        ({}, ("--confirm", "+15005550011", "--public-url", "https://127.0.0.1:9"), "does not reach this machine"),
    ],
)
def test_a_live_call_is_refused_before_dialling(
    tmp_path: Path, variables: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    """One line, exit code 3, no ledger entry, nothing leaked."""
    given = arguments if "--public-url" in arguments else (*arguments, "--public-url", "https://a.invalid")
    scenario = _silent_scenario(tmp_path)
    done = on_a_free_port(tmp_path, *given, "--scenario", str(scenario), **(SECRETS | variables))
    assert done.returncode == 3, done.stderr
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if "error:" in line]) == 1
    assert not (tmp_path / "ledger.json").exists()
    assert not (tmp_path / "results").exists()
    assert leaks(tmp_path, done.stdout, done.stderr) == []


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    """One line, no traceback."""
    script = "import sys; sys.modules['twilio'] = None; from turngap.cli.app import main; main(['smoke', '--fake'])"
    done = subprocess.run(
        [*child.python_command("x")[:-2], "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "needs the extra `live`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_is_located_in_turngap_s_own_code() -> None:
    """Not in that of another package that is installed below a folder of this name."""
    names: dict[str, Any] = {}
    source = "\n\ndef outer(inner):\n    inner()\n"
    exec(compile(source, str(Path(smoke_command.__file__).parent / "own.py"), "exec"), names)
    exec(compile("def inner():\n    1 / 0\n", "/srv/turngap/site-packages/foreign.py", "exec"), names)
    with pytest.raises(ZeroDivisionError) as error:
        names["outer"](names["inner"])
    assert smoke_command._last_own_line(error.value) == "own.py:4"


def _silent_scenario(folder: Path) -> Path:
    from tests.harness.tones import scenario_of_tones

    return scenario_of_tones(folder, 1)


def _free_port() -> int:
    from turngap.live.server import open_listener

    with open_listener("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port
