"""`turngap chaos`: real calls to an agent whose stages fail on purpose, and one line for what does not fit."""

from __future__ import annotations

import json

import pytest
from turngap.cli.app import execute

QUICK = ("--set", "tts.ms_per_character=20", "--set", "llm.token_ms=1")


SOME = {
    "vad/hang/first-word/once": {"answer"},
    "llm/garbage/first-word/once": {"apology", "answer"},
    "tts/raise/mid-reply/once": {"apology", "answer"},
    "sending/nothing/first-word": {"answer"},
}
"""Faults of four stages, and all that their callers may hear."""


def test_faults_are_injected_and_survived(capfd):
    """The caller hears an answer or an apology, the neighbour's turns and the next call are answered."""
    some = [word for fault in SOME for word in ("--only", fault)]
    command = ["chaos", *some, "--seed", "1", "--agents", "4", "--json", *QUICK]
    code = execute(command)
    out, errors = capfd.readouterr()
    document = json.loads(out)
    assert (code, document["injected"], document["survived"], document["lost"]) == (0, 4, 4, 0), errors
    assert document["profile"] == "scripted"
    assert document["longest_silence_ms"] < 5000
    for row in document["rows"]:
        fault = f"{row['stage']}/{row['fault']}/{row['moment']}"
        (allowed,) = [heard for name, heard in SOME.items() if name.startswith(fault)]
        assert set(row["heard"]) <= allowed, fault
        assert row["neighbour"]["answered"] == row["neighbour"]["turns"] > 0
        assert row["next_call"] == "answer"
    assert "4 injected, 4 survived, 0 lost" in errors


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--only", "sst"], "no stage, fault or moment is called 'sst'"),
        (["--only", "turn"], "--set endpointing.policy=speculative"),
        (["--seed", "x"], "--seed"),
        (["--calls", "0"], "--calls 0"),
        (["--profile", "scriptd"], "scriptd"),
    ],
)
def test_what_does_not_fit_is_one_line(capfd, arguments, part):
    """A usage error, before anything is started."""
    assert execute(["chaos", *arguments]) == 3
    out, errors = capfd.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    assert part in errors
