"""Greedy decoding with fixed shapes: a prompt in padded pieces after a prefix that is kept, then token after token.

The host reads nothing inside a unit; the generated ids stay on the device until they are needed. The step of the next
token is launched before the host waits for this one, so that a GPU never idles; the number of tokens is known in
advance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from turngap_agent.device.execution import Execution
from turngap_agent.llm.gemma.network import Gemma

PREFILL_ROWS = (32, 128, 512)
"""Prompts are computed in pieces, padded to one of these sizes."""
WINDOWS = (512,)
"""Attention reads this many positions from the first on, or all."""


class Decoding:
    """One conversation at a time on one set of keys and values. Every method belongs inside `execution.activate()`."""

    def __init__(self, gemma: Gemma, execution: Execution, positions: int) -> None:
        """Prepare the units; `gemma` has at least `cache_places(positions)` places."""
        device = gemma.embeddings.device
        self.positions = positions
        self._gemma, self._execution = gemma, execution
        self._cache = gemma.cache()
        self._ids = torch.zeros(PREFILL_ROWS[-1], dtype=torch.long, device=device)
        self._start, self._last, self._token, self._position = (
            torch.zeros(1, dtype=torch.long, device=device) for _ in range(4)
        )
        self._generated = torch.zeros(positions, dtype=torch.long, device=device)
        self._windows = [*(window for window in WINDOWS if window < positions), cache_places(positions)]
        self._prefill_units = {
            (rows, window): execution.prepare_unit(partial(self._run_prefill, rows, window))
            for rows in PREFILL_ROWS
            for window in self._windows
            if window >= rows
        }
        self._step_units = {window: execution.prepare_unit(partial(self._run_step, window)) for window in self._windows}

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self._gemma.embeddings.dtype

    def prefill(self, ids: Sequence[int], start: int) -> int:
        """Compute `ids` from position `start` on and return the position after them. The next token is then known.

        Raises:
            ValueError: there are not enough positions.
        """
        if start + len(ids) > self.positions:
            raise ValueError(
                f"{start + len(ids)} positions are needed, and there are {self.positions}; raise llm.positions"
            )
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
        """Yield once for each of `count` tokens from `position` on, when the device has computed it."""
        self._position.fill_(position)
        wait_for_token: Callable[[], None] = self._execution.record_event()
        for index in range(count):
            wait_for_this = wait_for_token
            self._generated[index : index + 1].copy_(self._token)
            if index + 1 < count:
                self._step_units[self._window(position + index + 1)]()
                wait_for_token = self._execution.record_event()
            wait_for_this()
            yield None

    def generated(self, count: int) -> list[int]:
        """Return the ids of the first `count` tokens of the last reply; waits for the device."""
        return [int(number) for number in self._generated[:count].tolist()]

    def _window(self, reach: int) -> int:
        return next(window for window in self._windows if window >= reach)

    def _run_prefill(self, rows: int, window: int) -> None:
        positions = self._start + torch.arange(rows, device=self._ids.device)
        hidden = self._gemma.forward(self._ids[:rows], self._cache, positions, window)
        self._token.copy_(self._gemma.likeliest_token(hidden.index_select(0, self._last)))

    def _run_step(self, window: int) -> None:
        hidden = self._gemma.forward(self._token, self._cache, self._position, window)
        self._token.copy_(self._gemma.likeliest_token(hidden))
        self._position.add_(1)


def cache_places(positions: int) -> int:
    """Return the places of keys and values that `positions` need: padding rows may lie past the last position."""
    return positions + PREFILL_ROWS[-1]
