"""Gemma 3 27B's exact architecture with random weights, on torch alone: its time and memory on a GPU without vLLM.

`load` is the way in; it alone is light to import. The words are scripted, the work is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turngap_agent.device.installed import require

if TYPE_CHECKING:
    from turngap_agent.llm.gemma.engine import GemmaChat
    from turngap_agent.profile.llm import GemmaSettings


def load(settings: GemmaSettings) -> GemmaChat:
    """The engine, loaded; blocking, and on a GPU for up to minutes.

    Raises:
        EngineError: the extra is not installed, or the engine cannot run here as `settings` say.
    """
    require("gemma", "torch", "transformers")
    from turngap_agent.llm.gemma.engine import GemmaChat

    return GemmaChat(settings)
