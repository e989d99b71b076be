"""CSM-1B as a synthesiser that streams: first audio after the first 80 ms frame.

`load` is the way in; it alone is light to import. Reading order: `stack`, `backbone`, `depth`, `codec` (with
`convolutions`) are the network; `slot` makes frames of them, `graphs` says how they run; `context`, `text` and `tokens`
say what goes in; `model` and `random_weights` where the weights come from; `speech` puts them together, and `engine`
behind the agent's seam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turngap_agent.device.installed import require

if TYPE_CHECKING:
    from turngap_agent.profile.tts import CsmSettings
    from turngap_agent.tts.csm.engine import Csm


def load(settings: CsmSettings) -> Csm:
    """The engine, loaded; blocking, and on a GPU for up to minutes.

    Raises:
        EngineError: the extra is not installed, or the engine cannot run here as `settings` say.
    """
    require("csm", "tokenizers", "torch", "transformers")
    from turngap_agent.tts.csm.engine import Csm

    return Csm(settings)
