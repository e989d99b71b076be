"""`turngap stage`: the agent's own program on a scenario's callers, and its document as text."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from turngap.cli.app import execute
from turngap.cli.stage import StageRequest, measure
from turngap.cli.stage_text import format_stage
from turngap_agent import profile

HALF_SECOND = base64.b64encode(b"\xff" * 4000).decode("ascii")
INPUTS = {"clips": [{"key": key, "words": "Hello there.", "mulaw": HALF_SECOND} for key in "ab"]}
REMOTE = "llm={engine: vllm, url: 'http://127.0.0.1:9/v1', model: m, system_prompt: Hello.}"


def measure_scripted(stage: str, *overrides: str, **more: Any) -> tuple[int, dict[str, Any] | None]:
    """Measure a stage of the scripted profile, back to back."""
    chosen = profile.load("scripted", overrides).model_dump(mode="json")
    return measure(StageRequest(stage, busy=True, repeats=6, **more), chosen, INPUTS)


def test_an_engine_without_parts_is_said_to_have_none() -> None:
    """Every field is there; null ones have their reason, in the document and in the text."""
    code, document = measure_scripted("tts", "tts.first_audio_ms=1", "tts.own_process=true", beside="stt")
    assert (code, document is not None) == (0, True)
    assert document is not None
    for key in ("cold_start_ms", "first_output_ms", "frame_ms", "rtf", "memory_mib", "threads", "cpu_ms"):
        assert document[key] is not None, key
    assert {"load", "steady", "peak"} <= set(document["memory_mib"])
    assert set(document["first_output_ms"]) == {"n", "p50", "p50_interval", "p95"}
    nulls = ("split_ms", "floor_ms", "distance_to_floor", "launches_per_frame", "host_syncs_per_frame")
    assert [document[key] for key in nulls] == [None] * len(nulls)
    assert set(nulls) <= set(document["reasons"])
    assert "was measured in this one" in document["reasons"]["own_process"]
    assert document["reasons"]["split_ms"] == "scripted has no parts: it does not mark any"
    assert document["beside"]["engines"] == ["stt"]
    assert document["beside"]["times_alone"]["first_output_ms"]["p50"] > 0
    text = "\n".join(format_stage(document))
    assert "not known        split_ms: scripted has no parts" in text
    assert "beside stt, in a thread" in text


def test_the_agent_s_error_is_the_command_s(capfd: pytest.CaptureFixture[str]) -> None:
    """Its line is printed by its own process, once, and the exit code is passed on."""
    assert measure_scripted("turn", "endpointing.policy=silence") == (3, None)
    printed = capfd.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("turngap: error: stage turn: profile 'scripted' has no turn model")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ear"], "stage ear: no such stage"),
        (["stt", "--profile", "nobody"], "nobody"),
        (["stt", "--scenario", "nothing"], "no scenario 'nothing'"),
        (["stt", "--busy", "--cadence", "5"], "give one of them"),
        (
            ["llm", "--set", "llm={engine: vllm, url: 'http://127.0.0.1:9/v1', model: m, system_prompt: Hello.}"],
            "a URL",
        ),
        (["stt", "--scenario", "bad-input", "--beside", "nose"], "no such stage"),
    ],
)
def test_bad_options_are_usage_errors(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit code 3, and before audio is fetched or an engine loads."""

    def fail(*_: object) -> None:
        raise AssertionError("audio was fetched")

    monkeypatch.setattr("turngap.cli.stage.corpus.build_corpus", fail)
    assert execute(["stage", *arguments]) == 3
    printed = capfd.readouterr()
    assert (printed.out, len(printed.err.strip().splitlines())) == ("", 1)
    assert says in printed.err
