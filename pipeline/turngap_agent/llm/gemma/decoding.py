"""Greedy decoding with fixed shapes: a prompt in padded pieces after a kept beginning, then token after token.

Nothing in a unit is read by the host; the generated ids stay on the device until they are asked for. The next token's
step is launched before this one is waited for, so that on a GPU the device never idles; how many tokens there are is
known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from turngap_agent.device.graphs import Execution
from turngap_agent.llm.gemma.network import Gemma

PREFILL_ROWS = (32, 128, 512)
"""A prompt is taken in by pieces padded to one of these."""
WINDOWS = (512,)
"""Attention reads the first so many positions, or all."""


class Decoding:
    """One conversation at a time on one set of keys and values. Every method belongs inside `execution.active()`."""

    def __init__(self, gemma: Gemma, execution: Execution, positions: int) -> None:
        """Prepares the units; `gemma` has at least `places(positions)` places."""
        device = gemma.embeddings.device
        self.positions = positions
        self._gemma, self._execution = gemma, execution
        self._cache = gemma.cache()
        self._ids = torch.zeros(PREFILL_ROWS[-1], dtype=torch.long, device=device)
        self._start, self._last, self._token, self._position = (
            torch.zeros(1, dtype=torch.long, device=device) for _ in range(4)
        )
        self._said = torch.zeros(positions, dtype=torch.long, device=device)
        self._windows = [*(window for window in WINDOWS if window < positions), places(positions)]
        self._prefill_units = {
            (rows, window): execution.unit(partial(self._prefill, rows, window))
            for rows in PREFILL_ROWS
            for window in self._windows
            if window >= rows
        }
        self._step_units = {window: execution.unit(partial(self._step, window)) for window in self._windows}

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self._gemma.embeddings.dtype

    def take_in(self, ids: Sequence[int], start: int) -> int:
        """Take `ids` in from position `start` on; gives the position after them. The next token is then known.

        Raises:
            ValueError: they do not fit into the positions there are.
        """
        if start + len(ids) > self.positions:
            raise ValueError(f"{start + len(ids)} positions are needed, there are {self.positions}")
        done = 0
        while done < len(ids):
            piece = ids[done : done + PREFILL_ROWS[-1]]
            rows = next(size for size in PREFILL_ROWS if size >= len(piece))
            self._ids[: len(piece)].copy_(torch.tensor(piece))
            self._start.fill_(start + done)
            self._last.fill_(len(piece) - 1)
            self._prefill_units[rows, self._window(start + done + rows)]()
            done += len(piece)
        return start + len(ids)

    def tokens(self, position: int, count: int) -> Iterator[None]:
        """`count` tokens from `position` on, each yielded once the device has it; the first came with the prompt."""
        self._position.fill_(position)
        arrived: Callable[[], None] = self._execution.mark()
        for index in range(count):
            ready = arrived
            self._said[index : index + 1].copy_(self._token)
            if index + 1 < count:
                self._step_units[self._window(position + index + 1)]()
                arrived = self._execution.mark()
            ready()
            yield None

    def generated(self, count: int) -> list[int]:
        """The ids of the first `count` tokens of the last reply; waits for the device."""
        return [int(number) for number in self._said[:count].tolist()]

    def _window(self, reach: int) -> int:
        return next(window for window in self._windows if window >= reach)

    def _prefill(self, rows: int, window: int) -> None:
        at = self._start + torch.arange(rows, device=self._ids.device)
        hidden = self._gemma.forward(self._ids[:rows], self._cache, at, window)
        self._token.copy_(self._gemma.likeliest(hidden.index_select(0, self._last)))

    def _step(self, window: int) -> None:
        hidden = self._gemma.forward(self._token, self._cache, self._position, window)
        self._token.copy_(self._gemma.likeliest(hidden))
        self._position.add_(1)


def places(positions: int) -> int:
    """Places of keys and values for so many positions: padding rows may lie past the last."""
    return positions + PREFILL_ROWS[-1]
