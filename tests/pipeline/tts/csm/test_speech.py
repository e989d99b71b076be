"""A loaded CSM made ready: which mode it runs in, what a piece may take, and faults in one clear line."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.graphs import Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm.text import expected_frames, most_frames

if TYPE_CHECKING:
    from conftest import MakeSpeech


def refuse(modes: set[Mode], fault: Exception, asked: list[Mode]) -> Any:
    def slots(mode: Mode, count: int) -> tuple[Any, tuple[()]]:
        asked.append(mode)
        if mode in modes:
            raise fault
        return None, ()

    return slots


def test_a_gpu_without_a_compiler_gets_plain_graphs(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Left to itself it compiles; where that does not work it says so and goes on with graphs."""
    speech, asked = make_speech(), []
    monkeypatch.setattr(speech, "device", torch.device("cuda"))
    monkeypatch.setattr(speech, "_slots", refuse({Mode.COMPILED}, RuntimeError("no C compiler\nfound"), asked))
    with caplog.at_level(logging.WARNING):
        speech.prepare(None, 2)
    assert asked == [Mode.COMPILED, Mode.GRAPHS]
    assert "mode compiled does not work here (no C compiler found); slower mode graphs" in caplog.text


def test_a_mode_that_was_asked_for_and_fails_is_an_error(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No quiet change of what the user wants measured."""
    speech, asked = make_speech(), []
    monkeypatch.setattr(speech, "_slots", refuse({Mode.COMPILED}, RuntimeError("no C compiler"), asked))
    with pytest.raises(EngineError, match=r"mode compiled does not work here \(no C compiler\); set tts.mode: eager"):
        speech.prepare(Mode.COMPILED, 1)
    assert asked == [Mode.COMPILED]


def test_slots_that_do_not_fit_are_one_clear_line(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not a reason to try another mode."""
    speech = make_speech()
    monkeypatch.setattr(speech, "_slots", refuse(set(Mode), torch.OutOfMemoryError("CUDA out of memory"), []))
    with pytest.raises(EngineError, match=r"ran out of memory for 16 slots .*; lower tts.slots"):
        speech.prepare(None, 16)


def test_a_piece_has_a_bound_on_its_frames(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real weights end by themselves, within what the text can take; random ones speak for as long as it would."""
    speech, text = make_speech(), "Good morning."
    real = speech.plan(text, (), 250)
    assert (real.frames, real.reads_end) == (most_frames(text), True)
    assert speech.plan(text, (), 20).frames == 20
    monkeypatch.setattr(speech, "checkpoint", dataclasses.replace(speech.checkpoint, random=True))
    scripted = speech.plan(text, (), 250)
    assert (scripted.frames, scripted.reads_end) == (expected_frames(text), False)


def test_a_voice_prompt_as_long_as_the_model_is_refused(make_speech: MakeSpeech) -> None:
    """When it is set, not in the first call."""
    speech = make_speech()
    minute = np.zeros(60 * 24_000, np.float32)
    with pytest.raises(EngineError, match=r"positions of 512; shorten the voice prompt"):
        speech.set_prompt("hello", minute, 24_000)


def test_context_does_not_move_the_prompt(make_speech: MakeSpeech) -> None:
    """The prompt comes first in every plan, so that its keys and values stay valid."""
    speech = make_speech()
    speech.set_prompt("hello", np.zeros(24_000, np.float32), 24_000)
    plan = speech.plan("Good morning.", (), 20)
    assert plan.segments == (speech.prompt,)
    assert speech.slots[0].shared_positions(plan.segments) == speech.prompt.positions


def test_settings_that_leave_no_room_are_found_before_a_call(make_speech: MakeSpeech) -> None:
    """The longest piece, 240 characters and max_frames of audio, must fit after the prompt."""
    speech = make_speech()
    speech.require_room(512 - 240)
    speech.set_prompt("hello", np.zeros(24_000, np.float32), 24_000)
    with pytest.raises(EngineError, match=r"take 532 positions of 512; .* or lower tts.max_frames"):
        speech.require_room(512 - 240)
