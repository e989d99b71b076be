"""One unit of work of each stage, asked for as a call asks for it, and its times as the caller of the engine sees them.

A unit is an utterance for the detector and for speech-to-text, a query for the turn model, a reply for the language
model, a clause for the synthesiser.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from turngap_agent.call.conversation import make_call_block
from turngap_agent.clock import now_ns, sleep_until_ns
from turngap_agent.endpointing import JudgesPauses, Pause
from turngap_agent.engines import EngineKind
from turngap_agent.llm import ReadsAhead, Request
from turngap_agent.parts import Recorder
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stt import FixedWork
from turngap_agent.telephony import FRAME_SAMPLES, SAMPLE_RATE

UNITS: dict[EngineKind, str] = {
    "vad": "utterance",
    "turn": "query",
    "stt": "utterance",
    "llm": "reply",
    "tts": "clause",
}
STEPS: dict[EngineKind, str] = {"vad": "window", "llm": "token", "tts": "frame"}
"""What a unit consists of where its output comes step by step; a synthesiser's frame is a piece that it yields."""
_FRAME_NS = 1_000_000_000 * FRAME_SAMPLES // SAMPLE_RATE
_SENTENCE_END = 0.5
"""For a turn model that reads: the language model is not asked, so its probability says nothing."""


@dataclass(frozen=True, slots=True)
class UnitTimes:
    """The times of one unit."""

    first_ms: float
    """From the request to the first output."""
    whole_ms: float
    """To the last; for the detector the sum over its frames, without the waits between them."""
    steps_ms: tuple[float, ...] = ()
    """Of each step after the first output; for the detector of each window."""
    audio_s: float | None = None
    """The audio that was heard or spoken in it."""


Work = Callable[[StageInput, Recorder], Awaitable[UnitTimes]]
"""Does a unit; the recorder listens while it is timed."""


def make_work(stage: EngineKind, engine: Any, *, paced: bool = False) -> Work:
    """Return what does a unit of the stage on `engine`; `paced`: the detector gets its frames 20 ms apart."""
    return {
        "vad": lambda given, recorder: _detect(engine, given, recorder, paced=paced),
        "turn": lambda given, recorder: _judge(engine, given, recorder),
        "stt": lambda given, recorder: _transcribe(engine, given, recorder),
        "llm": lambda given, recorder: _reply(engine, given, recorder),
        "tts": lambda given, recorder: _speak(engine, given, recorder),
    }[stage]


def split_units(stage: EngineKind, inputs: Sequence[StageInput]) -> tuple[StageInput, ...]:
    """Return the inputs by unit: for the synthesiser one for each clause, else as they are."""
    if stage != "tts":
        return tuple(inputs)
    return tuple(
        StageInput(f"{one.key}:{index}", one.words, one.audio, (clause,))
        for one in inputs
        for index, clause in enumerate(one.clauses or (one.words,))
    )


async def _detect(engine: Any, given: StageInput, recorder: Recorder, *, paced: bool) -> UnitTimes:
    detector = engine.detector()
    pcm = np.asarray(np.clip(given.audio * 32_768.0, -32_768, 32_767), np.int16)
    whole_ms, windows = 0.0, []
    due_ns = now_ns()
    for start in range(0, len(pcm) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        if paced:
            await sleep_until_ns(due_ns)
            due_ns += _FRAME_NS
        frame = pcm[start : start + FRAME_SAMPLES]
        with recorder.record() as lane:
            voicings = await detector.push(frame)
        whole_ms += lane.took_ms
        if voicings:
            windows.append(lane.took_ms / len(voicings))
    return UnitTimes(windows[0] if windows else 0.0, whole_ms, tuple(windows), len(pcm) / SAMPLE_RATE)


async def _judge(engine: Any, given: StageInput, recorder: Recorder) -> UnitTimes:
    pause = Pause(given.audio, given.words, _SENTENCE_END)
    with recorder.record() as lane:
        await (engine.judge(pause) if isinstance(engine, JudgesPauses) else engine.completeness(given.audio))
    return UnitTimes(lane.took_ms, lane.took_ms, audio_s=len(given.audio) / SAMPLE_RATE)


async def _transcribe(engine: Any, given: StageInput, recorder: Recorder) -> UnitTimes:
    with recorder.record() as lane:
        if isinstance(engine, FixedWork):
            await engine.transcribe_as(given.audio, given.words)
        else:
            await engine.transcribe(given.audio)
    return UnitTimes(lane.took_ms, lane.took_ms, audio_s=len(given.audio) / SAMPLE_RATE)


async def _reply(engine: Any, given: StageInput, recorder: Recorder) -> UnitTimes:
    request = Request(make_call_block(), (), given.words, 1_000)
    if isinstance(engine, ReadsAhead):
        await engine.read_ahead(request)  # as a call does while the caller speaks: nobody waits for it
    times, _ = await _read(lambda: engine.reply(request), recorder)
    if isinstance(engine, ReadsAhead):
        engine.forget(request.call_block)
    return times


async def _speak(engine: Any, given: StageInput, recorder: Recorder) -> UnitTimes:
    times, samples = await _read(lambda: engine.speak(given.clauses[0]), recorder)
    return UnitTimes(times.first_ms, times.whole_ms, times.steps_ms, samples / engine.sample_rate)


async def _read(start: Callable[[], Any], recorder: Recorder) -> tuple[UnitTimes, int]:
    """Return the times of all that an engine yields, and how much it was: samples, or letters."""
    ends_ns: list[int] = []
    amount = 0
    with recorder.record() as lane:
        async with aclosing(start()) as pieces:
            async for piece in pieces:
                if len(piece):
                    ends_ns.append(now_ns())
                    amount += len(piece)
    steps = tuple((end - before) / 1e6 for before, end in itertools.pairwise(ends_ns))
    first_ns = ends_ns[0] if ends_ns else lane.end_ns
    return UnitTimes((first_ns - lane.start_ns) / 1e6, lane.took_ms, steps), amount
