"""Convert a GGUF of the Llama architecture to an ONNX model with its tokenizer: gguf, numpy and onnx only, no torch.

It writes `model.onnx`, `tokenizer.json` (byte-level BPE, for the tokenizers library) and `chat_template.jinja`. The
model takes the new ids and the keys and values of earlier ones, in place, and returns the logits after those of the new
ids that `rows` names. Its matrices have 8 bits, in blocks of 32 with a scale each, as ONNX Runtime's `MatMulNBits`
computes with them; embeddings stored as Q8_0 are converted exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from turngap_agent.errors import WeightsError
from turngap_agent.weights.gguf import F32, Gguf

BLOCK = 32
_ZERO = 128
"""The byte that means 0."""
_LARGEST = 127
_COMPUTE_IN_INT8 = 4
"""`accuracy_level`: the rows that a matrix is multiplied with are quantized to 8 bits too."""
_FUSED = "com.microsoft"
"""ONNX Runtime's own operators."""
_OPSET, _IR = 21, 10
_HEAD_MULTIPLE = 16
"""Required by GroupQueryAttention on a CPU."""


def convert(source: Path, into: Path, *, quantized: bool = True) -> None:
    """Write the GGUF file `source` as an ONNX model into the folder `into`.

    Args:
        source: a GGUF of architecture `llama` with a byte-level BPE vocabulary.
        into: an existing folder.
        quantized: matrices of 8 bits; else of 32, which computes exactly what the file contains.

    Raises:
        WeightsError: the file is not such a GGUF.
        OSError: the file system refuses.
    """
    model = Gguf(source)
    tokenizer = model.tokenizer().to_str(pretty=True)
    onnx.save(_Graph(model, quantized).build(), str(into / "model.onnx"))
    (into / "tokenizer.json").write_text(tokenizer, "utf-8")
    (into / "chat_template.jinja").write_text(model.chat_template, "utf-8")


def quantize(matrix: F32) -> tuple[npt.NDArray[np.uint8], F32]:
    """Return `matrix`, shape (rows, n · 32), in 8 bits: values, shape (rows, n, 32), 128 for 0; scales, (rows, n).

    Raises:
        WeightsError: its rows are not whole blocks.
    """
    if matrix.shape[1] % BLOCK:
        raise WeightsError(f"a matrix has rows of {matrix.shape[1]}: only multiples of {BLOCK} can be converted")
    blocks = matrix.reshape(len(matrix), -1, BLOCK)
    scales = np.abs(blocks).max(-1) / _LARGEST
    steps = np.divide(blocks, scales[..., None], out=np.zeros_like(blocks), where=scales[..., None] > 0)
    return (np.rint(steps) + _ZERO).astype(np.uint8), scales.astype(np.float32)


class _Graph:
    """The model's operators in order; every method that adds one returns the name of its output."""

    def __init__(self, model: Gguf, quantized: bool) -> None:
        self._model = model
        self._quantized = quantized
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs = [_value("ids", TensorProto.INT64, [1, "tokens"])]
        # As GroupQueryAttention requires: the index of the last position, and the number of positions.
        self._inputs += [_value("last", TensorProto.INT32, [1]), _value("total", TensorProto.INT32, [1])]
        self._inputs.append(_value("rows", TensorProto.INT64, ["rows"]))
        self._outputs: list[Any] = []

    def build(self) -> Any:
        """Return the model.

        Raises:
            WeightsError: the operators do not support its shape.
        """
        model = self._model
        head = model.weight("token_embd.weight").shape[1] // model.heads
        if head % _HEAD_MULTIPLE:
            raise WeightsError(f"attention heads of {head}: only multiples of {_HEAD_MULTIPLE} can be converted")
        angles = np.outer(np.arange(model.positions), model.rotary_base ** (-np.arange(0, head, 2) / head))
        self._constant("cos", np.cos(angles).astype(np.float32))
        self._constant("sin", np.sin(angles).astype(np.float32))
        stream = self._embed()
        normed = self._add(
            "SimplifiedLayerNormalization", [stream, self._gamma("blk.0.attn_norm")], "normed", epsilon=model.epsilon
        )
        for index in range(model.layers):
            after = f"blk.{index + 1}.attn_norm" if index + 1 < model.layers else "output_norm"
            stream, normed = self._layer(f"blk.{index}.", stream, normed, after, head)
        chosen = self._add("Gather", [normed, "rows"], "normed.rows", axis=1)
        vocabulary = self._logits(chosen)
        self._outputs.insert(0, _value("logits", TensorProto.FLOAT, [1, "rows", vocabulary]))
        graph = helper.make_graph(self._nodes, "llama", self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        built = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
        helper.set_model_props(built, {"positions": str(model.positions)})
        return built

    def _embed(self) -> str:
        """Add the rows of the new ids; tied embeddings are the output's matrix too, stored once."""
        matrix = self._model.weight("token_embd.weight")
        if not self._quantized:
            return self._add("Gather", [self._constant("token_embd", matrix), "ids"], "embedded")
        values, scales = quantize(matrix)
        held = self._add("Gather", [self._constant("token_embd.values", values), "ids"], "embedded.values")
        flat = self._add("Gather", [self._constant("token_embd.scales", scales), "ids"], "embedded.scales")
        scale = self._add("Unsqueeze", [flat, self._constant("scale.axis", np.array([-1]))], "embedded.scale")
        wide = self._add("Cast", [held], "embedded.wide", to=TensorProto.FLOAT)
        zero = self._constant("zero", np.array(_ZERO, np.float32))
        steps = self._add("Sub", [wide, zero], "embedded.steps")
        blocks = self._add("Mul", [steps, scale], "embedded.blocks")
        shape = self._constant("embedded.shape", np.array([0, 0, matrix.shape[1]]))
        return self._add("Reshape", [blocks, shape], "embedded")

    def _layer(self, layer: str, stream: str, normed: str, after: str, head: int) -> tuple[str, str]:
        """Add a layer; return the residual stream after it, and the same normed for the part `after` it."""
        model = self._model
        parts = [model.weight(f"{layer}attn_{name}.weight") for name in "qkv"]
        together = self._product(normed, np.concatenate(parts), f"{layer}attn_qkv")
        state = []
        for name in ("keys", "values"):
            shape: list[int | str] = [1, model.key_value_heads, "positions", head]
            self._inputs.append(_value(f"{layer}{name}.before", TensorProto.FLOAT, shape))
            self._outputs.append(_value(f"{layer}{name}", TensorProto.FLOAT, shape))
            state.append(f"{layer}{name}")
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [together, "", "", *(f"{name}.before" for name in state), "last", "total", "cos", "sin"],
                [f"{layer}attended", *state],
                domain=_FUSED,
                num_heads=model.heads,
                kv_num_heads=model.key_value_heads,
                do_rotary=1,
                rotary_interleaved=1,
            )
        )
        attended = self._product(f"{layer}attended", model.weight(f"{layer}attn_output.weight"), f"{layer}attn_output")
        stream, normed = self._sum_and_norm(stream, attended, f"{layer}ffn_norm", f"{layer}ffn")
        gate = self._product(normed, model.weight(f"{layer}ffn_gate.weight"), f"{layer}ffn_gate")
        up = self._product(normed, model.weight(f"{layer}ffn_up.weight"), f"{layer}ffn_up")
        opened = self._add("Mul", [gate, self._add("Sigmoid", [gate], f"{gate}.sigmoid")], f"{gate}.silu")
        inner = self._add("Mul", [opened, up], f"{layer}ffn_inner")
        down = self._product(inner, model.weight(f"{layer}ffn_down.weight"), f"{layer}ffn_down")
        return self._sum_and_norm(stream, down, after, f"{layer}out")

    def _logits(self, normed: str) -> int:
        """Add the output; return the number of logits."""
        tied = not self._model.has("output.weight")
        matrix = self._model.weight("token_embd.weight" if tied else "output.weight")
        if tied and self._quantized:
            self._quantized_product(normed, ["token_embd.values", "token_embd.scales"], matrix.shape, "logits")
        else:
            self._product(normed, matrix, "logits")
        return len(matrix)

    def _product(self, rows: str, matrix: F32, name: str) -> str:
        """Add `rows` times the transposed matrix of shape (out, in)."""
        if not self._quantized:
            return self._add("MatMul", [rows, self._constant(f"{name}.matrix", matrix.T)], name)
        values, scales = quantize(matrix)
        weights = [self._constant(f"{name}.values", values), self._constant(f"{name}.scales", scales)]
        return self._quantized_product(rows, weights, matrix.shape, name)

    def _quantized_product(self, rows: str, weights: list[str], shape: tuple[int, ...], name: str) -> str:
        rows_out, width = shape
        return self._add(
            "MatMulNBits",
            [rows, *weights],
            name,
            domain=_FUSED,
            N=rows_out,
            K=width,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_COMPUTE_IN_INT8,
        )

    def _sum_and_norm(self, stream: str, added: str, norm: str, name: str) -> tuple[str, str]:
        """Add the sum of the residual stream and a part's output; return it, and the same normed."""
        gamma, outputs = self._gamma(norm), [f"{name}.normed", "", "", f"{name}.stream"]
        self._nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [stream, added, gamma],
                outputs,
                domain=_FUSED,
                epsilon=self._model.epsilon,
            )
        )
        return outputs[3], outputs[0]

    def _gamma(self, norm: str) -> str:
        return self._constant(norm, self._model.weight(f"{norm}.weight"))

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _value(name: str, kind: int, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
