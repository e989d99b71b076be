"""A call's detector, and the one by level that takes its place where it fails: without any there would be no call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from turngap_agent.call import Agent
from turngap_agent.call.checks import make_voicings_check
from turngap_agent.deadlines import EngineFailure, StageError, late
from turngap_agent.endpointing import VoiceActivity, Voicing
from turngap_agent.endpointing.energy import EnergyDetector
from turngap_agent.errors import one_line
from turngap_agent.meter import CURRENT, Meter
from turngap_agent.telephony import SAMPLE_RATE, mulaw

FALLBACK_DBFS = -45.0
"""The level over which a window counts as speech then."""
_log = logging.getLogger("turngap.call")


class Hearing:
    """What a call's detector makes of the caller's audio. Positions are samples of the stream, at 8 kHz."""

    def __init__(self, agent: Agent, codes: Callable[[int, int], bytes], call_sid: str) -> None:
        """`codes` returns the caller's μ-law codes between two positions."""
        self._agent, self._codes, self._call_sid = agent, codes, call_sid
        self._limit_ms = agent.profile.deadlines.vad_ms
        self._detector: VoiceActivity | None = None
        self._work = Meter()
        self._by_level = False
        self._fed = self._judged = 0

    async def judge(self, end: int) -> list[Voicing]:
        """Return the windows that are complete with the audio up to `end`."""
        while True:
            try:
                return await self._push(end)
            except StageError as fault:
                self._agent.overseer.note_fault(fault, self._work)
                _log.error("%s: %s; the call goes on by the level of its sound", self._call_sid, fault)
                self._detector, self._by_level = EnergyDetector(FALLBACK_DBFS, self._judged), True
                self._fed = self._judged

    async def _push(self, end: int) -> list[Voicing]:
        """Feed the detector with what it has not had.

        Raises:
            StageError: it failed, and is not the one by level.
        """
        pcm, self._fed = mulaw.decode(self._codes(self._fed, end)), end
        if self._by_level and self._detector is not None:
            voicings = await self._detector.push(pcm)
        else:
            self._agent.overseer.check("vad")
            outside = CURRENT.set(self._work)
            try:
                async with asyncio.timeout(self._limit_ms / 1000):
                    self._detector = self._detector or self._agent.engines.vad.detector()
                    found = await self._detector.push(pcm)
                voicings = make_voicings_check(self._judged, end)(found)
            except TimeoutError:
                raise late("vad", self._limit_ms, "vad_ms") from None
            except Exception as error:  # whatever a detector raises, or returns, the call continues
                kind = EngineFailure.GARBAGE if isinstance(error, TypeError | ValueError) else EngineFailure.RAISED
                raise StageError(f"vad: {type(error).__name__}: {one_line(error, 300)}", "vad", kind) from error
            finally:
                CURRENT.reset(outside)
            self._check_progress(voicings, end)
        if voicings:
            self._judged = voicings[-1].end_sample
            self._agent.overseer.note_answer("vad")
        return voicings

    def _check_progress(self, voicings: list[Voicing], end: int) -> None:
        judged = voicings[-1].end_sample if voicings else self._judged
        if end - judged > self._limit_ms * SAMPLE_RATE / 1000:
            text = f"vad: nothing was judged for {self._limit_ms:g} ms of audio (deadlines.vad_ms)"
            raise StageError(text, "vad", EngineFailure.NOTHING, self._limit_ms)
