"""A loaded CSM: which mode it runs in, how many frames a piece may have, and errors of one line."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import CaptureError, Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm.text import expected_frames, max_frames

if TYPE_CHECKING:
    from conftest import MakeSpeech


def refuse(modes: set[Mode], error: Exception, tried: list[Mode]) -> Any:
    def make_slots(mode: Mode, count: int) -> tuple[Any, tuple[()]]:
        tried.append(mode)
        if mode in modes:
            raise error
        return None, ()

    return make_slots


def test_a_gpu_without_a_compiler_gets_plain_graphs(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By default it compiles; where that does not work it logs the reason and uses graphs."""
    speech, tried = make_speech(), []
    monkeypatch.setattr(speech, "device", torch.device("cuda"))
    monkeypatch.setattr(speech, "_make_slots", refuse({Mode.COMPILED}, RuntimeError("no C compiler\nfound"), tried))
    with caplog.at_level(logging.WARNING):
        speech.prepare(None, 2)
    assert tried == [Mode.COMPILED, Mode.GRAPHS]
    assert "compiled does not work here (no C compiler found)" in caplog.text
    assert "graphs" in caplog.text


def test_a_mode_of_the_settings_that_fails_is_an_error(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user wants to measure is not changed silently."""
    speech, tried = make_speech(), []
    monkeypatch.setattr(speech, "_make_slots", refuse({Mode.COMPILED}, RuntimeError("no C compiler"), tried))
    with pytest.raises(EngineError, match=r"mode compiled does not work here \(no C compiler\); set tts.mode: eager"):
        speech.prepare(Mode.COMPILED, 1)
    assert tried == [Mode.COMPILED]


def test_a_failed_capture_is_the_end(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` does not go on with a process whose allocator may still be registered with the broken capture."""
    speech, tried = make_speech(), []
    monkeypatch.setattr(speech, "device", torch.device("cuda"))
    monkeypatch.setattr(speech, "_make_slots", refuse({Mode.COMPILED}, CaptureError("capture failed"), tried))
    with pytest.raises(EngineError, match=r"csm: mode compiled: capture failed: set tts.mode: eager"):
        speech.prepare(None, 1)
    assert tried == [Mode.COMPILED]


def test_slots_that_do_not_fit_are_one_line(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory is no reason to try another mode."""
    speech = make_speech()
    monkeypatch.setattr(speech, "_make_slots", refuse(set(Mode), torch.OutOfMemoryError("CUDA out of memory"), []))
    with pytest.raises(EngineError, match=r"ran out of memory for 16 slots .*; lower tts.slots"):
        speech.prepare(None, 16)


def test_a_piece_has_a_bound_on_its_frames(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real weights end by themselves, within a limit; random ones speak for as long as the text would."""
    speech, text = make_speech(), "Good morning."
    real = speech.plan(text, (), 250)
    assert (real.frames, real.reads_end) == (max_frames(text), True)
    assert speech.plan(text, (), 20).frames == 20
    monkeypatch.setattr(speech, "checkpoint", dataclasses.replace(speech.checkpoint, random=True))
    scripted = speech.plan(text, (), 250)
    assert (scripted.frames, scripted.reads_end) == (expected_frames(text), False)


def test_a_voice_prompt_without_room_to_speak_is_an_error(make_speech: MakeSpeech) -> None:
    """When it is set, not in the first call."""
    speech = make_speech()
    minute = np.zeros(60 * 24_000, np.float32)
    with pytest.raises(EngineError, match=r"positions.* 512; shorten the voice prompt"):
        speech.set_prompt("hello", minute, 24_000)


def test_the_prompt_is_first_in_every_plan(make_speech: MakeSpeech) -> None:
    """Its keys and values stay valid."""
    speech = make_speech()
    speech.set_prompt("hello", np.zeros(24_000, np.float32), 24_000)
    plan = speech.plan("Good morning.", (), 20)
    assert plan.segments == (speech.prompt,)
    assert speech.slots[0].shared_positions(plan.segments) == speech.prompt.positions


def test_settings_that_leave_no_room_are_an_error_before_a_call(make_speech: MakeSpeech) -> None:
    """The longest piece, 240 characters and max_frames of audio, must fit after the prompt."""
    speech = make_speech()
    speech.require_room(512 - 240)
    speech.set_prompt("hello", np.zeros(24_000, np.float32), 24_000)
    with pytest.raises(EngineError, match=r"need 532 positions.* 512; .*tts\.max_frames"):
        speech.require_room(512 - 240)
