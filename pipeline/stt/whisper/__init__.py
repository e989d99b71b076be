"""Whisper and distil-whisper through transformers, on torch: real weights from a folder, or random ones.

`load` is the way in; it alone is light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.device.installed import require

if TYPE_CHECKING:
    from pipeline.profile.stt import WhisperSettings
    from pipeline.stt.whisper.engine import Whisper


def load(settings: WhisperSettings) -> Whisper:
    """The engine, loaded; blocking.

    Raises:
        EngineError: the extra is not installed, or the engine cannot run here as `settings` say.
    """
    require("whisper", "torch", "transformers")
    from pipeline.stt.whisper.engine import Whisper

    return Whisper(settings)
