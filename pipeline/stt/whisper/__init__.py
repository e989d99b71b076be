"""Whisper and distil-whisper through transformers, on torch: real weights from a folder, or random ones.

`load` is the way in; it alone is light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import EngineError

if TYPE_CHECKING:
    from pipeline.profile.stt import WhisperSettings
    from pipeline.stt.whisper.engine import Whisper


def load(settings: WhisperSettings) -> Whisper:
    """The engine, loaded; blocking.

    Raises:
        EngineError: the extra is not installed, or the engine cannot run here as `settings` say.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as fault:
        raise EngineError(
            f"whisper: {fault.name or 'a package'} is not installed; run: pip install 'turngap[csm]'"
        ) from None
    from pipeline.stt.whisper.engine import Whisper

    return Whisper(settings)
