"""No secret of the environment is in anything that turngap writes or prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from turngap.cli.app import execute
from turngap.model.turn import Outcome
from turngap.store import folder as store

from benchmarks.kills import write_scenario

SECRETS = {
    "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "TWILIO_API_SECRET": "secretOfTheApiKey1234567890abcde",
    "HF_TOKEN": "hf_secretOfTheHub",
    "TURNGAP_METRICS_TOKEN": "secret-of-the-metrics-page",
    "OPENAI_API_KEY": "sk-secretOfAnotherProduct",
}
DEFECT = "from turngap import api; from turngap.cli.app import main; api.load = lambda path: 1 / 0; main()"
"""A command that ends by a defect of ours: its traceback is printed."""


@pytest.mark.timeout(240)
def test_a_run_and_all_that_is_made_of_it_keep_secrets_to_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Record, logs, recordings, report, exports, a comparison, a traceback: none has them, nor has the terminal."""
    scenario = write_scenario(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    assert execute(["run", str(scenario), "--profile", "scripted", "--out", "results"]) in (0, 1, 2)
    (run,) = [path for path in (tmp_path / "results").iterdir() if path.is_dir()]
    commands = [["report", str(run), "--baseline", str(run)], ["compare", str(run), str(run)]]
    kinds = ("csv", "perfetto", "markdown", "junit")
    commands += [["export", str(run), "--format", kind, "--out", str(tmp_path / f"exported.{kind}")] for kind in kinds]
    # A busy machine may spoil the only turn of the run: then there is nothing to compare, which is said with 3.
    heard = any(turn.outcome is Outcome.ANSWERED for turn in store.read_run(run).turns if turn.scored)
    for command in commands:
        assert execute(command) in ((0, 1, 2) if heard else (0, 1, 2, 3)), command
    crash = subprocess.run(
        [sys.executable, "-c", DEFECT, "report", str(run)], capture_output=True, text=True, check=False
    )
    assert "ZeroDivisionError" in crash.stderr
    out, errors = capfd.readouterr()
    printed = out + errors + caplog.text + crash.stdout + crash.stderr
    assert "perceived gap" in printed
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"run.json", "turns.jsonl", "agent.log", "exported.junit"} <= {path.name for path in written}
    assert any(path.suffix == ".html" for path in written)
    assert any(path.suffix == ".wav" and "calls" in path.parts for path in written)
    for name, secret in SECRETS.items():
        assert secret not in printed, f"{name} was printed"
        assert [path for path, data in written.items() if secret.encode() in data] == [], f"{name} was written"
