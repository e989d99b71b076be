"""`turngap chaos`: real calls to an agent whose stages fail on purpose, and one line for what does not fit."""

from __future__ import annotations

import json

import pytest
from turngap.cli.app import execute

QUICK = ("--set", "tts.ms_per_character=20", "--set", "llm.token_ms=1")


def test_faults_are_injected_and_survived(capfd):
    """A lost message: the caller hears the rest, the neighbour notices nothing, the next call is answered."""
    code = execute(["chaos", "--only", "sending/nothing/first-word", "--seed", "1", "--json", *QUICK])
    out, errors = capfd.readouterr()
    document = json.loads(out)
    assert (code, document["injected"], document["survived"], document["lost"]) == (0, 1, 1, 0), errors
    assert document["profile"] == "scripted"
    assert document["longest_silence_ms"] < 5000
    for row in document["rows"]:
        assert (row["stage"], row["fault"], row["times"]) == ("sending", "nothing", "once")
        assert set(row["heard"]) == {"answer"}
        assert row["neighbour"]["answered"] == row["neighbour"]["turns"] > 0
        assert row["next_call"] == "answer"
    assert "1 injected, 1 survived, 0 lost" in errors


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
