"""The model with the keys and values that it keeps of its conversations, and the choice of the next token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from turngap_agent import parts
from turngap_agent.device.onnx import open_session
from turngap_agent.errors import EngineError, one_line
from turngap_agent.parts import KEPT

F32 = npt.NDArray[np.float32]
_BEFORE = ".before"
"""Suffix of the model's inputs for keys and values; each takes the place of the output without it."""


class Decoder:
    """The model, loaded once. Only one thread may use it at a time."""

    def __init__(self, model: Path, threads: int, positions: int) -> None:
        """Args:
            model: An ONNX file as `turngap_agent.weights.llama_onnx` writes it.
            threads: Threads of the computation.
            positions: How many tokens a conversation may have.

        Raises:
            EngineError: the file is no such model, or was made for fewer positions.
        """
        try:
            self._session: Any = open_session(model, threads)
            limit = int(self._session.get_modelmeta().custom_metadata_map["positions"])
            _find_input(self._session, "rows")
        except Exception as error:  # onnxruntime's errors have Exception's class alone
            reason = "another model, or an older conversion" if isinstance(error, KeyError) else one_line(error, 200)
            raise EngineError(
                f"llm: {model} is no chat model that turngap has converted ({reason}); correct llm.model, or fetch the "
                "one that ships: python -m turngap_agent weights pull"
            ) from error
        if positions > limit:
            raise EngineError(
                f"llm: llm.positions is {positions}, and {model} was made for {limit}; lower llm.positions"
            )
        self.positions = positions

    def new_context(self) -> Context:
        """Return an empty conversation with room for all positions."""
        return Context(self._session, self.positions)


class Context:
    """One conversation's keys and values."""

    def __init__(self, session: Any, positions: int) -> None:
        self.ids: list[int] = []
        """Ids of the positions that are filled, from the first on."""
        self._session = session
        # The operator writes the new positions in place: input and output are the same memory.
        self._state = {
            value.name.removesuffix(_BEFORE): np.zeros((1, value.shape[1], positions, value.shape[3]), np.float32)
            for value in session.get_inputs()
            if value.name.endswith(_BEFORE)
        }
        self._binding = session.io_binding()
        for name, state in self._state.items():
            value = ort.OrtValue.ortvalue_from_numpy(state)
            self._binding.bind_ortvalue_input(f"{name}{_BEFORE}", value)
            self._binding.bind_ortvalue_output(name, value)
        self._rows = 0
        """How many rows the bound output for logits has."""

    def compute_logits(self, ids: Sequence[int], kept: int) -> F32:
        """Return the logits after `ids`, shape (vocabulary,), whose first `kept` ids the context has already.

        At least one id is new. The context then contains all of them.
        """
        last: F32 = self.compute_rows(ids, kept, (len(ids),))[0]
        return last

    def compute_rows(self, ids: Sequence[int], kept: int, lengths: Sequence[int]) -> F32:
        """Compute `ids` in one pass; return the logits after several of them, shape (lengths, vocabulary).

        Args:
            ids: All of the conversation; the context then contains them.
            kept: How many of them, from the first on, the context has already; at least one is new.
            lengths: After how many ids, each more than `kept` and at most all.
        """
        new, end = np.array([ids[kept:]], np.int64), len(ids)
        last, total = np.array([end - 1], np.int32), np.array([end], np.int32)
        rows = np.array([length - kept - 1 for length in lengths], np.int64)
        for name, value in (("ids", new), ("last", last), ("total", total), ("rows", rows)):
            self._binding.bind_cpu_input(name, value)
        if len(rows) != self._rows:
            self._binding.bind_output("logits")
            self._rows = len(rows)
        parts.note_shape(KEPT, kept)
        self.ids[kept:] = []  # a run that fails may have overwritten these
        self._session.run_with_iobinding(self._binding)
        self.ids[kept:] = ids[kept:]
        logits: F32 = self._binding.get_outputs()[-1].numpy()[0]
        return logits

    def copy_from(self, other: Context, positions: int) -> None:
        """Replace what this context has with the first `positions` of `other`."""
        for name, state in self._state.items():
            state[:, :, :positions] = other._state[name][:, :, :positions]
        self.ids = other.ids[:positions]


def _find_input(session: Any, name: str) -> Any:
    """Return the model's input of that name.

    Raises:
        KeyError: it has none.
    """
    return {value.name: value for value in session.get_inputs()}[name]


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many ids, from the first on, are the same in both."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


class TokenChoice:
    """Chooses the tokens of one reply, one after the other: the likeliest, after penalties."""

    def __init__(self, ends: Collection[int], min_tokens: int, penalty: float) -> None:
        """Args:
        ends: Ids that end a reply.
        min_tokens: How many tokens are chosen before any of `ends`.
        penalty: Of tokens that the reply has already (Keskar et al. 2019, CTRL, section 4.1); 1 for none.
        """
        self._ends = np.array(sorted(ends), np.int64)
        self._min_tokens = min_tokens
        self._penalty = penalty
        self._chosen: list[int] = []

    def choose(self, logits: F32) -> int:
        """Return the id with the largest of the `logits`, shape (vocabulary,), after penalties."""
        weighed = logits.copy()
        if self._chosen:
            repeated = np.unique(self._chosen)
            values = logits[repeated]
            weighed[repeated] = np.where(values > 0, values / self._penalty, values * self._penalty)
        if len(self._chosen) < self._min_tokens:
            weighed[self._ends] = -np.inf
        token = int(weighed.argmax())
        self._chosen.append(token)
        return token
