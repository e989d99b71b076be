"""How probable it is that a caller's sentence ends, by the logits after its last word."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

from turngap_agent.llm.onnx.decoder import F32
from turngap_agent.llm.templates import CHATML_END

STOPS = " \t\n.,;:!?…-"
"""What a recogniser puts after the last word, whether or not the sentence is over."""
_LINE_BREAK = "Ċ"
"""A line break, as a byte-level vocabulary spells it."""


class SentenceEnds:
    """The tokens that end a caller's sentence: a stop, a line break or the mark after a message."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        ends = (".", "?", "!", _LINE_BREAK, CHATML_END)
        self._ids = np.array(sorted(at for token, at in vocabulary.items() if token.startswith(ends)), np.int64)

    def probability(self, logits: F32) -> float:
        """Return the probability, 0-1, that one of them comes next, by logits of shape (vocabulary,)."""
        weights = np.exp(logits - logits.max())
        return float(weights[self._ids].sum() / weights.sum())
