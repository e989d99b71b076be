"""Whisper and distil-whisper through transformers, on torch: real weights from a folder, or random ones.

`load` is the way in; it alone is light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turngap_agent.device.installed import require

if TYPE_CHECKING:
    from turngap_agent.profile.stt import WhisperSettings
    from turngap_agent.stt.whisper.engine import Whisper


def load(settings: WhisperSettings) -> Whisper:
    """The engine, loaded; blocking.

    Raises:
        EngineError: the extra is not installed, or the engine cannot run here as `settings` say.
    """
    require("whisper", "torch", "transformers")
    from turngap_agent.stt.whisper.engine import Whisper

    return Whisper(settings)
