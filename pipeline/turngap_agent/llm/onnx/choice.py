"""Which token comes next: the likeliest, but for what is held against it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


class Choice:
    """One reply's tokens, chosen one after the other."""

    def __init__(self, ends: Collection[int], least: int, penalty: float) -> None:
        """Args:
        ends: ids that end a reply.
        least: none of them is chosen before so many tokens.
        penalty: what is held against a token that the reply has already (Keskar et al. 2019, CTRL, section 4.1);
            1 for nothing.
        """
        self._ends = np.array(sorted(ends), np.int64)
        self._least = least
        self._penalty = penalty
        self._given: list[int] = []

    def next(self, logits: F32) -> int:
        """The id with the largest of the `logits`, shape (vocabulary,), once all is held against them."""
        weighed = logits.copy()
        if self._given:
            given = np.unique(self._given)
            held = logits[given]
            weighed[given] = np.where(held > 0, held / self._penalty, held * self._penalty)
        if len(self._given) < self._least:
            weighed[self._ends] = -np.inf
        chosen = int(weighed.argmax())
        self._given.append(chosen)
        return chosen
