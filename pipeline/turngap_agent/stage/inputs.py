"""What a stage gets to work on: a scenario's clips and their words, as the instrument sends them on stdin."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from turngap_agent.errors import UsageError
from turngap_agent.stt import AudioF32
from turngap_agent.telephony import mulaw

_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class StageInput:
    """One utterance of a caller, and what the agent may answer."""

    key: str
    words: str
    """What the caller says."""
    audio: AudioF32
    """The utterance as the agent hears it, with the silence in which its end is decided: 8 kHz, shape (n,)."""
    clauses: tuple[str, ...] = ()
    """The reply to it, as the synthesiser would get it."""


def read_inputs(text: str) -> tuple[StageInput, ...]:
    """Return the inputs in a JSON document: `clips`, each with `key`, `words` and `mulaw` (base64, 8 kHz).

    Raises:
        UsageError: it is no such document, or has no clip.
    """
    try:
        clips = json.loads(text)["clips"]
        inputs = tuple(_read_clip(clip) for clip in clips)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"stage: stdin holds no inputs ({type(error).__name__}: {error}); run `turngap stage`, which sends them"
        ) from None
    if not inputs:
        raise UsageError("stage: stdin holds no clips; run `turngap stage` with a scenario that has spoken turns")
    return inputs


def _read_clip(clip: Any) -> StageInput:
    pcm = mulaw.decode(base64.b64decode(clip["mulaw"], validate=True))
    audio = np.asarray(pcm / _FULL_SCALE, np.float32)
    return StageInput(str(clip["key"]), str(clip["words"]), audio, tuple(map(str, clip.get("clauses", ()))))
