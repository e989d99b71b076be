"""The command `turngap doctor`: lines, JSON, exit codes, no secrets."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from turngap.cli import doctor
from turngap.cli.app import execute
from turngap.doctor.checks import Ability, Check, Diagnosis, Group, State

DIAGNOSIS = Diagnosis(
    "cpu",
    (Group("machine", (Check("clock", State.OK, "tsc"), Check("disk", State.PROBLEM, "[3] MiB free", "make room"))),),
    (Ability("turngap run", State.WARNING, "fetches csm-1b first"),),
)


def test_a_profile_for_a_gpu_on_a_machine_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON alone on stdout, exit code 1, the problem with its remedy, and no secret of the environment."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "f" * 32)
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    code = execute(["doctor", "--profile", "a100", "--json"])
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert code == (1 if found["problems"] else 0)
    assert "f" * 32 not in output.out + output.err
    assert "hf_very_secret" not in output.out + output.err
    assert {group["title"] for group in found["groups"]} == {"machine", "GPU", "agent, profile a100", "surroundings"}
    assert found["abilities"][0]["command"] == "turngap run --profile a100"


def test_an_unknown_profile_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage, exit code 3, nothing on stdout."""
    assert execute(["doctor", "--profile", "no-such"]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert "no-such" in output.err


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", "✓✗!→"), ("ascii", "x->")])
def test_the_marks_fit_the_terminal(encoding: str, marks: str) -> None:
    """Each check is a line with its mark, its remedy below; where the terminal knows no ✓, letters."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(width=100, record=True, file=file)
    doctor.print_diagnosis(DIAGNOSIS, console)
    text = console.export_text()
    assert "tsc" in text
    assert "[3] MiB free" in text
    assert "make room" in text
    assert "1 problem for profile cpu" in text
    assert [mark for mark in marks if mark not in text] == []
    assert ("✓" in text) is (encoding == "utf-8")
