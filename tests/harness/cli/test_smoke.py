"""Pins `turngap smoke` as a person meets it: the loop against the fake, what it leaves behind, and what it refuses.

Real processes in real time on a machine that may be busy: what is asserted is logic and order, never punctuality.
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
from turngap.processes import child

NUMBER = re.compile(rb"\+1500555\d{4}|1500555\d{4}")
SID = re.compile(rb"\b(?:AC|CA|MZ|SK|RE|PN)[0-9a-f]{32}\b")
PATIENCE_S = 280
UNDER_WAY_S = 15
"""By then a call has some of its turns, of about two seconds each, behind it."""
SECRETS = {
    "TWILIO_ACCOUNT_SID": "AC" + "a1" * 16,
    "TWILIO_API_KEY": "SK" + "b2" * 16,
    "TWILIO_API_SECRET": "c3" * 16,
    "TWILIO_AUTH_TOKEN": "d4" * 16,
    "TURNGAP_AGENT_NUMBER": "+15005550011",
    "TURNGAP_CALLER_NUMBER": "+15005550010",
    "TURNGAP_ALLOWED_NUMBERS": "+15005550010,+15005550011",
}


def smoke(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, with a ledger of its own."""
    env = {key: value for key, value in os.environ.items() if key != "CI"}
    env |= {"TURNGAP_LIVE_LEDGER": str(folder / "ledger.json")} | variables
    return subprocess.run(
        child.python("turngap", "smoke", *arguments),
        cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def on_a_free_port(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same; on another port where somebody took the free one meanwhile."""
    for _ in range(5):
        done = smoke(folder, *arguments, "--port", str(_free_port()), **variables)
        if "can't be listened on" not in done.stderr:
            break
    return done


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where a number, a SID or a secret stands, in anything that was left or said."""
    secrets = [value.encode() for key, value in SECRETS.items() if key.startswith("TWILIO")]
    found = []
    blobs = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    blobs |= {f"output {place}": text.encode() for place, text in enumerate(texts)}
    for name, blob in blobs.items():
        if NUMBER.search(blob) or SID.search(blob) or any(secret in blob for secret in secrets):
            found.append(name)
    return found


def turns_of(folder: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / document["run"] / "turns.jsonl").read_text().splitlines()]


@pytest.mark.timeout(300)
def test_the_loop_from_end_to_end_leaves_nothing_that_must_not_be_seen(tmp_path: Path) -> None:
    """Both legs, an echo and the recording; figures in order; no number, SID or secret in any file or line."""
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
    # What was injected is the least that the loop takes; how much more, and on which leg, is the machine's affair.
    assert max(legs["total_ms"] for legs in measured) > 430
    for legs in measured:
        parts = legs["uplink_ms"] + legs["server_gap_ms"] + legs["downlink_ms"]
        assert legs["total_ms"] == pytest.approx(parts, abs=0.01)
    assert document["witness"]["n"] >= 1
    assert document["floor_ms"] > 150
    run = json.loads((tmp_path / document["run"] / "run.json").read_text())
    assert "Live, diagnostic" in run["sentence"] or run["verdict"] == "INVALID"
    assert run["live"]["calls"] == 2
    report = next((tmp_path / "reports").glob("*.html")).read_text()
    assert "Live, diagnostic" in report
    assert "subtracted from nothing" in report
    assert leaks(tmp_path, done.stdout, done.stderr) == []
    assert "ledger" not in {file.stem for file in tmp_path.iterdir()}


@pytest.mark.timeout(300)
def test_the_agent_of_a_profile_stands_behind_the_loop(tmp_path: Path) -> None:
    """Its spans are joined under an alias, and explain the server gap."""
    from tests.harness.tones import scenario_of_tones

    scenario = scenario_of_tones(tmp_path, 1)
    done = smoke(
        tmp_path, "--fake", "--profile", "scripted", "--scenario", str(scenario), "--turns", "1", "--json", **SECRETS
    )
    assert done.returncode in (0, 2), done.stderr
    (turn,) = turns_of(tmp_path, json.loads(done.stdout))
    assert turn["call_sid"] == "live-0"
    assert turn["transcript"] is not None or turn["outcome"] in ("invalid", "missed", "failed"), done.stderr
    assert leaks(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("busy", "the line was busy"),
        ("voicemail", "a machine answered"),
        ("lost", "1 call that it had left was ended"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--record",)])
def test_a_call_that_comes_to_nothing_is_one_line(
    tmp_path: Path, does: str, message: str, options: tuple[str, ...]
) -> None:
    """What happened, exit code 2, an INVALID run, and nothing leaked; where it was recorded, nothing stays there."""
    to = ["--to", "+15005550099"] if does in ("voicemail", "lost") else []
    done = smoke(tmp_path, "--fake", "--fake-does", does, *to, *options, **SECRETS)
    assert "check its console" not in done.stdout + done.stderr
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert leaks(tmp_path, done.stdout, done.stderr) == []


@pytest.mark.timeout(300)
def test_a_call_that_twilio_ends_keeps_its_turns(tmp_path: Path) -> None:
    """Those that were never spoken are failed, with the reason."""
    done = smoke(tmp_path, "--fake", "--fake-does", "ended", "--turns", "6", "--json")
    turns = turns_of(tmp_path, json.loads(done.stdout))
    assert len(turns) == 6
    assert turns[-1]["outcome"] == "failed"
    assert "Twilio ended the stream" in turns[-1]["detail"]


@pytest.mark.timeout(300)
def test_a_connection_that_breaks_fails_what_was_not_answered(tmp_path: Path) -> None:
    """As a network does it, without a word: the turns before it stand, and those after it say why they do not."""
    network = tmp_path / "broken.yaml"
    network.write_text("name: broken\ndisconnect_after_s: 6\n")
    done = smoke(tmp_path, "--fake", "--network", str(network), "--turns", "30", "--json")
    turns = turns_of(tmp_path, json.loads(done.stdout))
    assert len(turns) == 30
    assert turns[-1]["outcome"] == "failed"
    assert "the connection broke (the stream broke off" in turns[-1]["detail"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [(), ("--record",)])
def test_ctrl_c_ends_the_call_under_way_and_keeps_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    """One line, exit code 2; what was finished in the call stands in the run, whose record says what ended it.

    Where the call was recorded, nothing of that stays at Twilio.
    """
    env = dict(os.environ) | {"TURNGAP_LIVE_LEDGER": str(tmp_path / "ledger.json")}
    command = child.python("turngap", "smoke", "--fake", "--turns", "40", *options)
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if "turns to be scored" in line:
                time.sleep(UNDER_WAY_S)
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 2, rest
    assert rest.count("the run was interrupted; the call under way was ended, its finished turns are kept") == 1
    assert "Traceback" not in rest
    (record,) = (tmp_path / "results").glob("*/run.json")
    assert 0 < len(record.with_name("turns.jsonl").read_text().splitlines()) < 40
    run = json.loads(record.read_text())
    assert not run["complete"]
    assert run["verdict"] == "INVALID"
    assert any("interrupted" in reason for reason in run["reasons"])
    assert not any("may still be at Twilio" in note for note in run["notes"])


def test_a_dry_run_does_all_but_the_network(tmp_path: Path) -> None:
    """It says what would be done and what it may cost, with masked numbers, and enters nothing in the ledger."""
    arguments = ("--dry-run", "--json", "--confirm", "+15005550011", "--public-url", "https://a.invalid", "--port", "0")
    assert smoke(tmp_path, *arguments, **SECRETS).returncode == 3  # port 0 is none that can be forwarded to
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
        ({"CI": "true"}, ("--confirm", "+15005550011", "--in-ci"), "told twice"),
        ({}, ("--confirm", "+15005550011", "--public-url", "https://127.0.0.1:9"), "does not reach this machine"),
    ],
)
def test_a_live_call_is_refused_before_anything_is_dialled(
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


def test_without_the_extra_it_says_which(tmp_path: Path) -> None:
    """One line, no trace."""
    script = "import sys; sys.modules['twilio'] = None; from turngap.cli.app import main; main(['smoke', '--fake'])"
    done = subprocess.run(
        [*child.python("x")[:-2], "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "needs the extra `live`" in done.stderr
    assert "Traceback" not in done.stderr


def _silent_scenario(folder: Path) -> Path:
    from tests.harness.tones import scenario_of_tones

    return scenario_of_tones(folder, 1)


def _free_port() -> int:
    from turngap.live.server import open_listener

    with open_listener("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port
