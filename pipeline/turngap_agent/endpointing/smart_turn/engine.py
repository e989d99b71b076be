"""Smart Turn v3.2 in ONNX Runtime: how likely it is, from an utterance's sound, that the caller is done.

The model takes the last 8 s at 16 kHz, padded with silence in front, normalised to mean 0 and variance 1, as Whisper's
log-mel frames (pipecat-ai's own calling convention for this model).
"""

from __future__ import annotations

import asyncio

import numpy as np

from turngap_agent import parts, weights, worker
from turngap_agent.device.onnx import open_session
from turngap_agent.endpointing import AudioF32
from turngap_agent.endpointing.smart_turn.features import log_mel
from turngap_agent.endpointing.smart_turn.settings import SmartTurnSettings
from turngap_agent.resample import to_16k
from turngap_agent.telephony import SAMPLE_RATE

INPUT_S = 8
_RATE = 2 * SAMPLE_RATE


class SmartTurn:
    """The model, loaded once; queries of several calls wait for each other."""

    parts = ("resample", "mel", "network")

    def __init__(self, settings: SmartTurnSettings) -> None:
        self._settings = settings
        self._session = open_session(weights.get(settings.model), settings.threads)
        self._executor = worker.make_thread("turn", settings.cores)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"smart_turn {self._settings.model}, {worker.threads_text(self._settings.threads)}"

    async def warm_up(self) -> None:
        """Judge a second of silence."""
        await self.completeness(np.zeros(SAMPLE_RATE, np.float32))

    async def completeness(self, audio: AudioF32) -> float:
        """Return the probability, 0-1, that the caller is done after `audio` (8 kHz, shape (n,))."""
        return await worker.run(self._executor, self._judge, audio)

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)

    def _judge(self, audio: AudioF32) -> float:
        with parts.part("resample"):
            wide = to_16k(audio[-INPUT_S * SAMPLE_RATE :])[-INPUT_S * _RATE :]
        with parts.part("mel"):
            padded = np.concatenate([np.zeros(INPUT_S * _RATE - len(wide), np.float32), wide])
            normalised = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
            features = log_mel(normalised.astype(np.float32))
        with parts.part("network"):
            (probability,) = self._session.run(None, {"input_features": features[None]})
        return float(np.ravel(probability)[0])
