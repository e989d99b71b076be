"""CSM behind the agent's interface: pieces of 80 ms, alternating calls, closed calls, texts of all kinds."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent import loading, profile
from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.csm import engine as csm_engine
from turngap_agent.tts.csm.engine import Csm
from turngap_agent.tts.csm.settings import CsmSettings, VoicePrompt

if TYPE_CHECKING:
    from conftest import MakeSpeech

MakeCsm = Callable[..., Any]


@pytest.fixture
def make_csm(make_speech: MakeSpeech) -> MakeCsm:
    """Return a function that makes an engine over the tiny checkpoint, closed at the end."""

    @asynccontextmanager
    async def make(slots: int = 2, temperature: float = 0.9, **settings: Any) -> AsyncIterator[Csm]:
        options = {"engine": "csm", "device": "cpu", "slots": slots, "max_frames": 12, **settings}
        engine = Csm(CsmSettings(**options), make_speech(temperature=temperature, slots=slots))
        try:
            yield engine
        finally:
            await engine.close()

    return make


async def speak(engine: Csm, text: str, context: tuple[ContextUtterance, ...] = ()) -> list[AudioF32]:
    return [piece async for piece in engine.speak(text, context)]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_a_clause_is_yielded_in_pieces_of_80_ms(make_csm: MakeCsm) -> None:
    """24 kHz float32, 1,920 samples a piece, at most max_frames of them."""

    async def work() -> list[AudioF32]:
        async with make_csm() as engine:
            assert engine.sample_rate == 24_000
            await engine.warm_up()
            return await speak(engine, "Good morning to you.")

    pieces = run(work())
    assert len(pieces) == 12
    assert all(piece.shape == (1920,) and piece.dtype == np.float32 for piece in pieces)


def test_the_same_text_has_the_same_audio(make_csm: MakeCsm) -> None:
    """Drawn codes are seeded by the text; other words and another seed sound different."""

    async def work() -> list[AudioF32]:
        clips = []
        for seed, text in ((0, "Good morning."), (0, "Good morning."), (0, "Good evening."), (1, "Good morning.")):
            async with make_csm(seed=seed) as engine:
                clips.append(np.concatenate(await speak(engine, text)))
        return clips

    first, again, other, reseeded = run(work())
    assert np.array_equal(first, again)
    assert not np.array_equal(first[: len(other)], other[: len(first)])
    assert not np.array_equal(first, reseeded)


def test_two_calls_at_once_have_the_audio_each_has_alone(make_csm: MakeCsm) -> None:
    """Frames alternate between the calls; samples are bit for bit those without the other."""
    texts = ["Good morning to you.", "The pool opens at seven."]

    async def work() -> tuple[list[Any], list[Any], list[int]]:
        async with make_csm() as engine:
            alone = [await speak(engine, text) for text in texts]
            order: list[int] = []

            async def speak_in_order(number: int) -> list[AudioF32]:
                pieces = []
                async for piece in engine.speak(texts[number]):
                    order.append(number)
                    pieces.append(piece)
                return pieces

            return alone, list(await asyncio.gather(speak_in_order(0), speak_in_order(1))), order

    alone, together, order = run(work())
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(np.concatenate(one), np.concatenate(other))
    assert order.index(1) < 4, "the second call waited for the first to end"
    assert order.count(0) == order.count(1)


def test_more_calls_than_slots_are_all_served(make_csm: MakeCsm) -> None:
    """Five calls, one slot: none hangs, none fails."""

    async def work() -> list[list[AudioF32]]:
        async with make_csm(slots=1) as engine:
            return list(await asyncio.gather(*(speak(engine, f"Number {number}.") for number in range(5))))

    assert [len(pieces) for pieces in run(work())] == [12] * 5


def test_a_closed_call_stops_and_frees_its_slot(make_csm: MakeCsm) -> None:
    """Between frames: no more frames are made, and the next call is as in a new engine."""

    async def work() -> tuple[Any, Any, int, int]:
        async with make_csm(slots=1) as engine:
            fresh = await speak(engine, "Good morning.")
        async with make_csm(slots=1) as engine:
            call = engine.speak("Something else altogether, and rather long.")
            for _ in range(3):
                await anext(call)
            await call.aclose()
            launched = engine._speech.slots[0]._launched
            after = await speak(engine, "Good morning.")
            await engine._on_device(lambda: None)
            return fresh, after, launched, len(engine._free)

    fresh, after, launched, free = run(work())
    assert np.array_equal(np.concatenate(fresh), np.concatenate(after))
    assert launched <= 4
    assert free == 1


def test_a_task_cancelled_during_a_frame_frees_its_slot(make_csm: MakeCsm) -> None:
    """As a barge-in does; the next call starts at once."""

    async def work() -> int:
        async with make_csm(slots=1) as engine:
            started = asyncio.Event()

            async def call() -> None:
                async for _ in engine.speak("Something rather long to be cut off."):
                    started.set()

            task = asyncio.create_task(call())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(await speak(engine, "Yes?"))

    assert run(work()) > 0


def test_closing_the_engine_ends_its_calls_with_an_error(make_csm: MakeCsm) -> None:
    """None hangs, and none ends as if its own task had been cancelled."""

    async def work() -> list[Any]:
        async with make_csm(slots=2, max_frames=200) as engine:
            texts = ["One call, at some length, I should say.", "And another of about the same length."]
            calls = [asyncio.create_task(speak(engine, text)) for text in (*texts, "A third, which waits.")]
            await anext(engine.speak("Yes?"))
            await engine.close()
            return await asyncio.gather(*calls, return_exceptions=True)

    errors = run(work())
    assert [type(error) for error in errors] == [EngineError] * 3
    assert "the engine was closed" in str(errors[0])


@pytest.mark.parametrize("text", ["", "  ", "😀", "…!?"])
def test_a_text_without_words_has_no_audio(make_csm: MakeCsm, text: str) -> None:
    """And no error."""

    async def work() -> list[AudioF32]:
        async with make_csm() as engine:
            return await speak(engine, text)

    assert run(work()) == []


def test_five_thousand_characters_are_spoken_in_pieces(make_csm: MakeCsm) -> None:
    """Each piece fits the model's positions and the frame limit."""

    async def work() -> list[AudioF32]:
        async with make_csm(max_frames=2) as engine:
            return await speak(engine, "A sentence of forty characters, no more. " * 122)

    assert len(run(work())) == 2 * 25


def test_a_context_may_have_any_length(make_csm: MakeCsm) -> None:
    """Eighty turns with a second of audio each: the latest that fit are used, and change the audio."""
    turns = tuple(
        ContextUtterance(
            "caller" if number % 2 else "agent", f"turn {number}", np.full(8000, 0.01 * (number % 7), np.float32)
        )
        for number in range(80)
    )

    async def work() -> tuple[Any, Any]:
        async with make_csm() as engine:
            return await speak(engine, "Good morning."), await speak(engine, "Good morning.", turns)

    plain, in_context = run(work())
    assert len(in_context) == 12
    assert not np.array_equal(np.concatenate(plain), np.concatenate(in_context))


def test_the_voice_prompt_is_kept_in_every_slot(make_csm: MakeCsm, tmp_path: Path) -> None:
    """Its keys and values are computed in the warm-up, not in a call."""
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    path = tmp_path / "voice.wav"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, (16_000, 2)), 16_000)

    async def work() -> list[int]:
        async with make_csm(voice_prompt=VoicePrompt(audio=str(path), text="hello")) as engine:
            await engine.warm_up()
            prompt = engine._speech.prompt
            return [slot.shared_positions((prompt,)) - prompt.positions for slot in engine._speech.slots]

    assert run(work()) == [0, 0]


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), (b"no audio", "cannot be read")])
def test_a_bad_voice_prompt_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Missing, or no audio."""
    pytest.importorskip("soundfile", reason="needs soundfile")
    path = tmp_path / "voice.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=rf"voice prompt .*voice.wav {message}.*; correct tts.voice_prompt.audio"):
        csm_engine.read_audio(str(path))


def test_random_weights_speak_a_tone_as_long_as_the_text(make_csm: MakeCsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """All work is done, the text determines the number of frames, and the audio is a steady tone of 1 kHz."""

    async def work() -> list[AudioF32]:
        async with make_csm(max_frames=100) as engine:
            checkpoint = engine._speech.checkpoint
            monkeypatch.setattr(engine._speech, "checkpoint", dataclasses.replace(checkpoint, random=True))
            return await speak(engine, "x" * 28)

    tone = np.concatenate(run(work()))
    assert len(tone) == 25 * 1920
    assert np.argmax(np.abs(np.fft.rfft(tone))) == 1000 * len(tone) // 24_000
    assert 20 * np.log10(np.sqrt(np.mean(tone**2))) == pytest.approx(-15, abs=0.1)


def test_a_failing_device_is_an_engine_error(make_csm: MakeCsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn is lost with one line; the engine serves the next."""

    async def work() -> int:
        async with make_csm(slots=1) as engine:
            slot = engine._speech.slots[0]

            def fail() -> None:
                raise RuntimeError("CUDA error: an illegal memory access\nwas encountered")

            with monkeypatch.context() as patch:
                patch.setattr(slot, "_codec_unit", fail)
                with pytest.raises(EngineError, match=r"the device failed .*; this reply is lost"):
                    await speak(engine, "Good morning.")
            return len(await speak(engine, "Good morning."))

    assert run(work()) == 12


def test_a_profile_can_use_csm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the profile and the loader: a missing checkpoint is the engine's own error."""
    with_csm = profile.load("scripted").model_copy(
        update={"tts": CsmSettings(engine="csm", weights="/no/such/folder", device="cpu")}
    )
    with pytest.raises(EngineError, match=r"^csm: /no/such/folder .*no config\.json.*tts\.weights"):
        asyncio.run(loading.load(with_csm))
