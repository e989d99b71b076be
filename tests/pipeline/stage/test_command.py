"""The options of a stage: what cannot be measured is said in one line, before anything loads."""

from __future__ import annotations

from typing import Any

import pytest
from turngap_agent.errors import UsageError
from turngap_agent.stage.command import make_options
from turngap_agent.stage.inputs import read_inputs
from turngap_agent.stage.measurement import CADENCE_S, spread_cadence

REMOTE = ("llm={engine: vllm, url: 'http://127.0.0.1:9/v1', model: m, system_prompt: Hello.}",)


@pytest.mark.parametrize(
    ("stage", "more", "says"),
    [
        ("ear", {}, "stage ear: no such stage; there are: vad, turn, stt, llm, tts"),
        ("sttt", {}, "did you mean 'stt'?"),
        ("stt", {"place": "thred"}, "did you mean 'thread'?"),
        ("stt", {"beside": "llm,nose"}, "--beside nose: no such stage"),
        ("stt", {"beside": "stt"}, "not stt, which is measured"),
        ("stt", {"beside": "llm,llm"}, "name each other engine once"),
        ("stt", {"place": "cloud"}, "--in cloud: no such place; there are: thread, process, mps"),
        ("stt", {"place": "process"}, "add --beside"),
        ("stt", {"place": "mps", "beside": "llm"}, "--in mps: shares a GPU"),
        ("stt", {"repeats": 0}, "--repeats 0"),
        ("stt", {"busy": True, "cadence": "5"}, "give one of them"),
        ("stt", {"cadence": "fast"}, "--cadence fast: expected seconds"),
        ("stt", {"cadence": "8-5"}, "--cadence 8-5: expected seconds"),
        ("turn", {"overrides": ("endpointing.model=null",)}, "has no turn model"),
        ("turn", {"overrides": ("endpointing.policy=silence", "endpointing.model=null")}, "has no turn model"),
        ("llm", {"overrides": REMOTE}, "is a server at a URL"),
        ("tts", {"overrides": REMOTE, "beside": "llm"}, "is a server at a URL"),
    ],
)
def test_what_cannot_be_measured_is_said(stage: str, more: dict[str, Any], says: str) -> None:
    """Exit code 3."""
    with pytest.raises(UsageError, match=says) as raised:
        make_options(stage, "cpu", **more)
    assert raised.value.exit_code == 3


def test_a_call_s_cadence_is_the_default_and_busy_has_none() -> None:
    """One number is a fixed distance."""
    assert make_options("stt", "cpu").cadence_s == CADENCE_S
    assert make_options("stt", "cpu", busy=True).cadence_s is None
    assert make_options("stt", "cpu", cadence="6").cadence_s == (6, 6)


def test_units_are_spread_over_the_cadence() -> None:
    """All between its ends, no two at the same distance, and none to wait for where there is no cadence."""
    spread = [spread_cadence(index, (5, 8)) for index in range(20)]
    assert all(5 <= every < 8 for every in spread)
    assert len(set(spread)) == 20
    assert spread_cadence(3, None) == 0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"clips": []}', '{"clips": [{"key": "a"}]}', '{"clips": 3}'])
def test_a_document_without_inputs_is_refused(text: str) -> None:
    """The line says which command sends them."""
    with pytest.raises(UsageError, match="run `turngap stage`"):
        read_inputs(text)


def test_an_engine_is_measured_in_the_stages_own_process() -> None:
    """Also one to which the profile gives a process of its own: what that used would not be seen."""
    options = make_options("tts", "cpu", overrides=("tts.own_process=true",), beside="stt")
    assert not options.settings.own_process
    assert options.profile.tts.own_process
