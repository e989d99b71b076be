"""Silero VAD in ONNX Runtime, at the telephone's own 8 kHz.

The model takes 256 samples with the 32 samples before them as context, and a state from window to window. Without the
context it returns wrong probabilities.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from turngap_agent import parts, weights
from turngap_agent.device.onnx import open_session
from turngap_agent.endpointing import Voicing
from turngap_agent.endpointing.silero.settings import SileroSettings
from turngap_agent.endpointing.windows import WINDOW_SAMPLES, Windows, level_dbfs
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.worker import make_thread, run, threads_text

_CONTEXT_SAMPLES = 32
_STATE_SHAPE = (2, 1, 128)
_FULL_SCALE = 32_768.0


class SileroEngine:
    """The model, loaded once; each call has a detector with a state of its own."""

    parts = ("windows", "network", "level")

    def __init__(self, settings: SileroSettings) -> None:
        self._settings = settings
        self._session = open_session(weights.get(settings.model), settings.threads)
        self._executor = make_thread("vad", settings.cores)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"silero {self._settings.model}, 8 kHz, {threads_text(self._settings.threads)}"

    def detector(self) -> SileroDetector:
        """Return a fresh detector for one call."""
        return SileroDetector(self._session, self._executor)

    async def warm_up(self) -> None:
        """Judge a second of silence."""
        await self.detector().push(np.zeros(SAMPLE_RATE, np.int16))

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)


class SileroDetector:
    """One call's detector."""

    def __init__(self, session: ort.InferenceSession, executor: ThreadPoolExecutor) -> None:
        self._session = session
        self._executor = executor
        self._windows = Windows()
        self._state = np.zeros(_STATE_SHAPE, np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)

    async def push(self, pcm: npt.NDArray[np.int16]) -> list[Voicing]:
        """Take the next 8 kHz samples, shape (n,) for any n; return the windows that became complete."""
        with parts.part("windows"):
            windows = self._windows.push(pcm)
        if not windows:
            return []
        return await run(self._executor, self._judge, windows)

    def _judge(self, windows: list[tuple[int, npt.NDArray[np.int16]]]) -> list[Voicing]:
        voicings = []
        for end, window in windows:
            with parts.part("network"):
                samples = np.concatenate([self._context, window.astype(np.float32) / _FULL_SCALE])
                probability, self._state = self._session.run(
                    None,
                    {"input": samples[None, :], "state": self._state, "sr": np.array(SAMPLE_RATE, np.int64)},
                )
                self._context = samples[WINDOW_SAMPLES:]
            with parts.part("level"):
                voicings.append(Voicing(end, float(probability[0, 0]), level_dbfs(window)))
        return voicings
