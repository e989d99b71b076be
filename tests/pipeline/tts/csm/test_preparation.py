"""Context that is computed after a turn: nothing of it is left for the next text, and no sample differs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.tts import ContextUtterance, PreparesContext
from turngap_agent.tts.csm import codec
from turngap_agent.tts.csm.engine import Csm
from turngap_agent.tts.csm.settings import CsmSettings

if TYPE_CHECKING:
    from conftest import MakeSpeech


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


def noise(seconds: float, seed: int) -> Any:
    return np.asarray(np.random.default_rng(seed).normal(0, 0.1, round(8000 * seconds)), np.float32)


def conversation(turns: int, seconds: float = 1.0) -> tuple[ContextUtterance, ...]:
    speakers = ("caller", "agent")
    return tuple(
        ContextUtterance(speakers[number % 2], f"turn {number}", noise(seconds + number / 10, number))
        for number in range(2 * turns)
    )


def make_csm(make_speech: MakeSpeech, slots: int = 1, **settings: Any) -> Csm:
    options = {"engine": "csm", "device": "cpu", "slots": slots, "max_frames": 6, **settings}
    return Csm(CsmSettings(**options), make_speech(temperature=0.9, slots=slots))


async def speak(engine: Csm, text: str, context: tuple[ContextUtterance, ...] = ()) -> Any:
    return np.concatenate([piece async for piece in engine.speak(text, context)])


class Work:
    """Counts the encoder's runs and the prefilled rows of an engine."""

    def __init__(self, engine: Csm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoded, self.rows = 0, []
        encode = codec.encode

        def count(*arguments: Any) -> Any:
            self.encoded += 1
            return encode(*arguments)

        monkeypatch.setattr(codec, "encode", count)
        for slot in engine._speech.slots:
            compute = slot._compute

            def compute_counted(rows: Any, compute: Any = compute) -> None:
                self.rows.append(len(rows))
                compute(rows)

            monkeypatch.setattr(slot, "_compute", compute_counted)

    def take(self) -> tuple[int, list[int]]:
        result = self.encoded, self.rows[:]
        self.encoded, self.rows[:] = 0, []
        return result


def test_after_preparation_only_the_text_is_left(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn encodes and prefills its two new utterances after itself, and its text when that is there."""

    async def work() -> list[tuple[int, list[int]]]:
        engine = make_csm(make_speech)
        counted, taken = Work(engine, monkeypatch), []
        assert isinstance(engine, PreparesContext)
        whole = conversation(2)
        for turns in (1, 2):
            await engine.prepare(whole[: 2 * turns])
            taken.append(counted.take())
            await speak(engine, "Good morning.", whole[: 2 * turns])
            taken.append(counted.take())
        await engine.close()
        return taken

    first, text, second, text_again = run(work())
    assert first[0] == second[0] == 2
    assert len(first[1]) == len(second[1]) == 2
    assert text == text_again
    assert text[0] == 0
    assert len(text[1]) == 1


def test_prepared_context_has_the_samples_of_context_computed_late(make_speech: MakeSpeech) -> None:
    """Bit for bit; also when the last utterance was cut after it had been prepared, as a barge-in does."""

    async def work() -> list[Any]:
        context = conversation(2)
        cut = (*context[:-1], ContextUtterance("agent", "turn", context[-1].audio[:4000]))
        clips = []
        for prepared in ((), (context,), (context, cut)):
            engine = make_csm(make_speech)
            for each in prepared:
                await engine.prepare(each)
            clips.append(await speak(engine, "Good morning.", cut))
            await engine.close()
        return clips

    late, other, prepared = run(work())
    assert np.array_equal(late, other)
    assert np.array_equal(late, prepared)


def test_a_context_that_does_not_fit_is_prepared_as_it_is_spoken(
    make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the length of the text, the same utterances are dropped."""

    async def work() -> list[tuple[int, list[int]]]:
        engine = make_csm(make_speech)
        counted, taken = Work(engine, monkeypatch), []
        context = conversation(8, seconds=2)
        await engine.prepare(context)
        prepared = counted.take()
        assert 0 < len(prepared[1]) < len(context)
        for text in ("Yes.", "A longer sentence that has many more words than the one before it."):
            await speak(engine, text, context)
            taken.append(counted.take())
        await engine.close()
        return taken

    assert [(encoded, len(rows)) for encoded, rows in run(work())] == [(0, 1), (0, 1)]


def test_two_calls_keep_a_slot_each(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call's context does not take the slot that has the first one's while another is free."""

    async def work() -> tuple[int, list[int]]:
        engine = make_csm(make_speech, slots=2)
        counted = Work(engine, monkeypatch)
        one, other = conversation(1), conversation(2)[2:]
        await engine.prepare(one)
        await engine.prepare(other)
        counted.take()
        await speak(engine, "Yes.", one)
        await speak(engine, "No.", other)
        await engine.close()
        return counted.take()

    encoded, rows = run(work())
    assert encoded == 0
    assert len(rows) == 2


def test_frames_go_before_preparation(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that arrives while a context is prepared waits for one utterance of it at most."""

    async def work() -> list[str]:
        engine = make_csm(make_speech, slots=2)
        order: list[str] = []
        step, opened = engine._prepare_step, engine._open
        monkeypatch.setattr(engine, "_prepare_step", lambda *all_: (order.append("step"), step(*all_))[1])
        encode = codec.encode
        monkeypatch.setattr(codec, "encode", lambda *all_: (order.append("encode"), encode(*all_))[1])
        monkeypatch.setattr(engine, "_open", lambda *all_: (order.append("open"), opened(*all_))[1])
        preparing = asyncio.create_task(engine.prepare(conversation(2)))
        await asyncio.sleep(0)
        await speak(engine, "Good morning.")
        await preparing
        await engine.close()
        return order

    order = run(work())
    before = order[: order.index("open")]
    assert before.count("encode") <= 1
    assert order.count("encode") == 4
    assert order.count("step") == 9
    jobs = "".join("s" if one == "step" else "e" for one in order if one != "open")
    assert "ee" not in jobs  # one in a job


def test_with_no_free_slot_the_audio_is_encoded_only(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots of others that speak are left alone."""

    async def work() -> tuple[int, list[int]]:
        engine = make_csm(make_speech)
        call = engine.speak("A sentence of some length.")
        await anext(call)
        counted = Work(engine, monkeypatch)
        await engine.prepare(conversation(1))
        taken = counted.take()
        await call.aclose()
        await engine.close()
        return taken

    assert run(work()) == (2, [])


@pytest.mark.parametrize("samples", [1, 1919, 1920, 1921, 48_000, 100_001])
def test_padding_changes_no_code(make_speech: MakeSpeech, samples: int) -> None:
    """Audio encoded at a longer length has the codes of the audio alone, in whole frames."""
    speech = make_speech()
    mimi, books = speech.checkpoint.network.codec_model, speech.codec.codebooks
    audio = torch.from_numpy(noise(samples / 8000, 7))
    frames = -(-samples // 1920)
    with speech.execution.activate():
        padded = codec.encode(mimi, audio, books, 1920)
        whole = torch.nn.functional.pad(audio, (0, frames * 1920 - samples))
        alone = mimi.encode(whole.view(1, 1, -1), num_quantizers=books).audio_codes[0].T
    assert padded.shape == (frames, books)
    assert torch.equal(padded, alone)


def test_audio_is_encoded_at_few_lengths() -> None:
    """None shorter than the audio; at most twice as long beyond two seconds."""
    lengths = {codec.padded_frames(frames) for frames in range(1, 1300)}
    assert lengths == {25, 50, 100, 200, 400, 800, 1200, 1600}
    assert all(frames <= codec.padded_frames(frames) for frames in range(1, 1300))


def test_the_warm_up_encodes_at_the_lengths_of_calls(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU at each; here at the shortest."""
    speech, lengths = make_speech(), []
    monkeypatch.setattr(codec, "encode", lambda mimi, samples, *_: lengths.append(len(samples) // 1920))
    speech.warm_up_encoder()
    assert lengths == [25]
    monkeypatch.setattr(torch, "zeros", lambda count, device: torch.ones(count))
    monkeypatch.setattr(speech, "device", torch.device("cuda"))
    speech.warm_up_encoder()
    assert lengths[1:] == [25, 50, 100, 200, 400]
