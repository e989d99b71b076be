"""What detectors, recogniser, language model and turn models say about recorded audio; each answer is computed once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from turngap.model.records import Pcm16
from turngap_agent.endpointing import EndpointEvent, JudgesPauses, Pause, TurnModel, Voicing
from turngap_agent.endpointing.utterance import samples
from turngap_agent.engines import TurnSettings
from turngap_agent.llm import JudgesSentences, Request
from turngap_agent.profile import Profile

from benchmarks.turn_taking.decisions import Answer
from benchmarks.turn_taking.tracks import PER_MS, RecordedTurn, Track

_BLOCK = "Q W E R T Y U I O P A S D F G H is the reference of this call."
_BEFORE_MS = 256
"""Heard before a turn starts: a profile's pre-roll."""
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Costs:
    """Modelled compute, ms: decisions are in audio time, so nothing here waits for it."""

    stt_ms: float
    llm_ms: float
    model_ms: float
    """A turn model's own work, such as Smart Turn's."""


@dataclass(slots=True)
class Hearing:
    """The engines of a profile, and their answers so far, by the content of the audio."""

    profile: Profile
    costs: Costs
    _engines: dict[str, Any] = field(default_factory=dict)
    _answers: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def voicings(self, track: Track) -> list[Voicing]:
        """Return the detector's output for a whole track."""
        vad = self._engine("vad", self.profile.vad)
        voicings: list[Voicing] = self._once(("vad", _key(track.pcm)), lambda: vad.detector().push(track.pcm))
        return voicings

    def answers(self, track: Track, settings: TurnSettings | None) -> Answer:
        """Return what a turn model says to the questions of an endpointer on that track, and when it is known."""

        def answer(event: EndpointEvent) -> tuple[float, int]:
            assert settings is not None, "an endpointer without a model asks nothing"
            question = next((turn.question for turn in reversed(track.turns) if event.at_sample > turn.speech[0]), "")
            heard = track.pcm[event.speech_start_sample : event.at_sample]
            return self.judge(settings, heard, question), samples(self.delay_ms(settings))

        return answer

    def score(self, settings: TurnSettings, track: Track, turn: RecordedTurn, at_sample: int) -> float:
        """Return a turn model's probability that the turn is over, given its audio up to `at_sample`."""
        start = max(0, turn.speech[0] - _BEFORE_MS * PER_MS)
        return self.judge(settings, track.pcm[start:at_sample], turn.question)

    def delay_ms(self, settings: TurnSettings) -> float:
        """Return the modelled time from a question to its answer."""
        reading = self.costs.stt_ms + self.costs.llm_ms if settings.reads_words else 0.0
        hearing = 0.0 if settings.reads_words and getattr(settings, "melody", None) is None else self.costs.model_ms
        return reading + hearing

    def judge(self, settings: TurnSettings, pcm: Pcm16, question: str) -> float:
        """Return a turn model's probability that a turn with this audio is over."""
        model: TurnModel = self._engine("turn", settings)
        if not isinstance(model, JudgesPauses):
            audio = _to_float(pcm)
            return float(self._once(("turn", repr(settings), _key(pcm)), lambda: model.completeness(audio)))
        pause = self.read(pcm, question)
        return float(self._once(("turn", repr(settings), _key(pcm), question), lambda: model.judge(pause)))

    def read(self, pcm: Pcm16, question: str) -> Pause:
        """Return a pause with its words and the language model's reading of them."""
        stt, llm = self._engine("stt", self.profile.stt), self._engine("llm", self.profile.llm)
        audio = _to_float(pcm)
        words = self._once(("stt", _key(pcm)), lambda: stt.transcribe(audio)).text.strip()
        if not isinstance(llm, JudgesSentences) or not words:
            return Pause(audio, words, None, question)
        request = Request(_BLOCK, (), words, max_tokens=1)
        return Pause(audio, words, self._once(("llm", words), lambda: llm.end_probability(request)), question)

    def close(self) -> None:
        """Close the engines."""
        for engine in self._engines.values():
            self._loop.run_until_complete(engine.close())
        self._loop.close()

    def _engine(self, stage: str, settings: Any) -> Any:
        key = f"{stage} {settings!r}"
        if key not in self._engines:
            settings.require_packages()
            engine = settings.build()
            self._loop.run_until_complete(engine.warm_up())
            self._engines[key] = engine
        return self._engines[key]

    def _once(self, key: tuple[str, ...], compute: Any) -> Any:
        if key not in self._answers:
            self._answers[key] = self._loop.run_until_complete(_wait(compute()))
        return self._answers[key]


async def _wait(work: Awaitable[Value] | Coroutine[Any, Any, Value]) -> Value:
    return await work


def _to_float(pcm: Pcm16) -> Any:
    return np.asarray(pcm / 32_768, np.float32)


def _key(pcm: Pcm16) -> str:
    return hashlib.sha256(pcm.tobytes()).hexdigest()[:24]
