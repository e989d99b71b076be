"""What a Whisper on CTranslate2 must read and compute, from the variables in its own model file.

The layout is that which CTranslate2's `ModelSpec._serialize` writes (ctranslate2/specs/model_spec.py): a header, then
each variable with name, shape, type and bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from turngap_agent.device.work import PartWork
from turngap_agent.errors import EngineError
from turngap_agent.parts import Shape

ENCODER, DECODER = "encoder", "decoder"
_VERSIONS = (5, 6)
_LINEAR_BYTES = {"int8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "float32": 4}
"""Bytes of a weight of a matrix, by the first word of the type of computation."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the model."""

    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether it is the weight of a product."""
        return len(self.shape) >= 2 and self.name.endswith("/weight")


def read_variables(file: Path) -> tuple[Variable, ...]:
    """Return the variables of a model file, without their values.

    Raises:
        EngineError: it is no model of CTranslate2, or one of another version.
    """
    try:
        with file.open("rb") as model:
            version = _number(model, "I")
            if version not in _VERSIONS:
                raise EngineError(f"{file}: a CTranslate2 model of version {version}; expected one of {_VERSIONS}")
            _text(model)
            _number(model, "I")
            return tuple(_variable(model) for _ in range(_number(model, "I")))
    except (OSError, struct.error, UnicodeDecodeError) as error:
        raise EngineError(f"{file}: no model of CTranslate2 ({error}); correct stt.model") from None


def count_whisper(variables: Sequence[Variable], compute_type: str, shapes: Sequence[Shape]) -> Mapping[str, PartWork]:
    """Return the work of encoder and decoder for the noted shapes: `positions`, and of the decoder `prompt`, `tokens`.

    `compute_type` is the one that the model has on its device, as CTranslate2 says it: the type of the weights of
    matrices and, after a `_`, that of everything else. Left out, so that it is the least: biases and softmax.
    """
    kind, other = split_type(compute_type)
    count = {name: _sizes(variables, name, _LINEAR_BYTES[kind], _LINEAR_BYTES[other]) for name in (ENCODER, DECODER)}
    work = {ENCODER: PartWork(), DECODER: PartWork()}
    for positions in _values(shapes, ENCODER, "positions"):
        size, part = count[ENCODER], work[ENCODER]
        part.weights_bytes = size.bytes
        part.bytes_read += size.bytes
        part.add(kind, 2 * positions * size.linear)
        # The first convolution is over the frames, two for each position; the second halves them.
        part.add(other, sum(2 * positions * step * conv for step, conv in zip((2, 1), size.convolutions, strict=True)))
        part.add(other, 4 * positions * positions * size.width * size.layers)
    noted = zip(*(_values(shapes, DECODER, name) for name in ("positions", "prompt", "tokens")), strict=True)
    for positions, prompt, tokens in noted:
        size, part = count[DECODER], work[DECODER]
        # Of each pass after the first: keys and values of the encoder's states, and those kept of its own tokens.
        kept = tokens * positions + sum(prompt + token for token in range(tokens))
        position_bytes = 2 * size.width * size.layers * _LINEAR_BYTES[other]
        last = positions + prompt + tokens - 1 if tokens else 0
        part.weights_bytes = max(part.weights_bytes, size.bytes + last * position_bytes)
        part.bytes_read += size.bytes * (1 + tokens) + size.once_bytes + kept * position_bytes
        part.add(kind, 2 * (prompt + tokens) * size.linear + 2 * positions * size.once)
        own = (prompt + tokens) * (prompt + tokens + 1) // 2  # each token sees itself and those before
        part.add(other, 4 * ((prompt + tokens) * positions + own) * size.width * size.layers)
    return work


def split_type(compute_type: str) -> tuple[str, str]:
    """Return the types of products with weights of matrices, and of all others: "int8_float16" is int8 and float16."""
    kind, _, other = compute_type.partition("_")
    return kind, other or (kind if kind in ("float16", "bfloat16") else "float32")


@dataclass(frozen=True, slots=True)
class _Sizes:
    bytes: int
    linear: int
    """Weights of the matrices that each row is multiplied with."""
    once: int
    """Of those that only the encoder's states are multiplied with."""
    once_bytes: int
    convolutions: tuple[int, ...]
    width: int
    layers: int


def _sizes(variables: Sequence[Variable], side: str, linear_bytes: int, other_bytes: int) -> _Sizes:
    own = [one for one in variables if one.name.startswith(f"{side}/")]
    matrices = [one for one in own if one.is_matrix and "position_encodings" not in one.name]
    embedded = [one for one in matrices if "embeddings" in one.name]
    # Tied to the output's matrix, they are read for every token; else a token reads one row.
    if any(one.name == f"{side}/projection/weight" for one in own):
        matrices = [one for one in matrices if one not in embedded]
    convolutions = tuple(one.elements for one in sorted(own, key=lambda one: one.name) if len(one.shape) == 3)
    linear = [one for one in matrices if len(one.shape) == 2]
    once = [one for one in linear if side == DECODER and one.name.endswith("/attention/linear_1/weight")]
    each = sum(one.elements for one in linear) - sum(one.elements for one in once)
    layers = {one.name.split("/")[1] for one in own if one.name.split("/")[1].startswith("layer_")}
    width = next(one.shape[0] for one in own if one.name == f"{side}/layer_norm/gamma")
    return _Sizes(
        bytes=each * linear_bytes + sum(convolutions) * other_bytes,
        linear=each,
        once=sum(one.elements for one in once),
        once_bytes=sum(one.elements for one in once) * linear_bytes,
        convolutions=convolutions,
        width=width,
        layers=len({name for name in layers if name != "layer_norm"}),
    )


def _values(shapes: Sequence[Shape], part: str, name: str) -> list[int]:
    return [one.value for one in shapes if one.part == part and one.name == name]


def _number(model: BinaryIO, form: str) -> int:
    (value,) = struct.unpack(form, model.read(struct.calcsize(form)))
    return int(value)


def _text(model: BinaryIO) -> str:
    return model.read(_number(model, "H")).rstrip(b"\0").decode("utf-8")


def _variable(model: BinaryIO) -> Variable:
    name = _text(model)
    shape = tuple(_number(model, "I") for _ in range(_number(model, "B")))
    _number(model, "B")
    model.seek(_number(model, "I"), 1)
    return Variable(name, shape)
