"""The model and what it keeps of the conversations it is in: keys and values, and the ids that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from turngap_agent.device.onnx import session
from turngap_agent.errors import EngineError

F32 = npt.NDArray[np.float32]
_BEFORE = ".before"
"""What the model's inputs for keys and values are called after the outputs that take their place."""


class Decoder:
    """The model, loaded once. Not for two threads at a time."""

    def __init__(self, model: Path, threads: int, positions: int) -> None:
        """Args:
            model: an ONNX file as `turngap_agent.weights.llama_onnx` writes it.
            threads: of the computation.
            positions: how many tokens a conversation may have.

        Raises:
            EngineError: it is no such file, or was made for fewer positions.
        """
        try:
            self._session: Any = session(model, threads)
            limit = int(self._session.get_modelmeta().custom_metadata_map["positions"])
        except Exception as fault:  # whatever onnxruntime raises has Exception's class alone
            what = "another model" if isinstance(fault, KeyError) else " ".join(str(fault).split())[:200]
            raise EngineError(
                f"llm: {model} is no chat model that turngap has converted ({what}); correct llm.model, or fetch the "
                "one that ships: python -m turngap_agent weights pull"
            ) from fault
        if positions > limit:
            raise EngineError(f"llm: llm.positions is {positions}, and {model} was made for {limit}: lower it")
        self.positions = positions

    def context(self) -> Context:
        """Room for one conversation, all of its positions."""
        return Context(self._session, self.positions)


class Context:
    """One conversation's keys and values."""

    def __init__(self, session: Any, positions: int) -> None:
        self.ids: list[int] = []
        """Of the positions that are filled, from the first on."""
        self._session = session
        # The operator writes the new positions where the old ones lie: input and output are one piece of memory.
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
        self._binding.bind_output("logits")

    def logits(self, ids: Sequence[int], kept: int) -> F32:
        """The logits after `ids`, shape (vocabulary,), of which the first `kept` are those of the context already.

        At least one id is new; the context is then that of all of them.
        """
        new, end = np.array([ids[kept:]], np.int64), len(ids)
        last, total = np.array([end - 1], np.int32), np.array([end], np.int32)
        for name, value in (("ids", new), ("last", last), ("total", total)):
            self._binding.bind_cpu_input(name, value)
        self.ids[kept:] = []  # if the run fails, these are what it may have written over
        self._session.run_with_iobinding(self._binding)
        self.ids[kept:] = ids[kept:]
        logits: F32 = self._binding.get_outputs()[-1].numpy()[0, 0]
        return logits

    def copy(self, other: Context, positions: int) -> None:
        """The first `positions` of `other`, in place of what there was."""
        for name, state in self._state.items():
            state[:, :, :positions] = other._state[name][:, :, :positions]
        self.ids = other.ids[:positions]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids, from the first on, both have."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (own, its) in enumerate(pairs) if own != its), min(len(one), len(other)))
