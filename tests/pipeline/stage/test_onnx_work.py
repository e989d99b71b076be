"""Work counted from an ONNX model that really ran: its own weights and shapes, attributed to the part that ran it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turngap_agent import parts
from turngap_agent.parts import Recorder

onnx = pytest.importorskip("onnx", reason="the extra `cpu` is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra `cpu` is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from turngap_agent.device.onnx import open_session  # noqa: E402
from turngap_agent.device.onnx_work import count_sessions  # noqa: E402
from turngap_agent.device.work import PartWork  # noqa: E402

WIDTH, ROWS = 64, 3


def write_model(path: Path, width: int) -> Path:
    """Rows looked up in a table of 1,000, times a matrix of `width` columns; the nodes have no names."""
    generator = np.random.default_rng(0)
    weights = {
        "table": generator.normal(size=(1000, WIDTH)).astype(np.float32),
        "matrix": generator.normal(size=(WIDTH, width)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "matrix"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "looked-up",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), str(path))
    return path


def count(file: Path, runs: int) -> dict[str, PartWork]:
    """The work of `runs` runs in the part `decode`, after one that no part asked for."""
    ids = np.arange(ROWS, dtype=np.int64)
    with count_sessions() as counting:
        session = open_session(file, 1)
        session.run(None, {"ids": ids})
        counting.unit = 0
        with Recorder().record(), parts.part("decode"):
            for _ in range(runs):
                session.run(None, {"ids": ids})
        (work,) = counting.read(1)
    return work


def test_weights_are_read_in_each_run_and_of_a_table_the_rows_alone(tmp_path: Path) -> None:
    """2 · rows · width · columns operations; the first run belongs to no unit."""
    work = count(write_model(tmp_path / "model.onnx", 32), 2)
    assert set(work) == {"decode"}
    assert work["decode"].operations == {"float32": 2 * 2 * ROWS * WIDTH * 32}
    assert work["decode"].bytes_read == 2 * 4 * (WIDTH * 32 + ROWS * WIDTH)
    assert work["decode"].weights_bytes == 4 * (WIDTH * 32 + ROWS * WIDTH)


def test_a_model_twice_as_wide_has_twice_the_work(tmp_path: Path) -> None:
    """Counted from the model itself: nothing else was changed."""
    one, other = (count(write_model(tmp_path / f"{width}.onnx", width), 1)["decode"] for width in (32, 64))
    assert other.operations["float32"] == 2 * one.operations["float32"]
    assert other.bytes_read - one.bytes_read == 4 * WIDTH * 32


KEPT, NEW, HEADS, HEAD = 3, 2, 2, 8


def test_attention_reads_the_kept_positions_and_each_row_sees_those_before_it(tmp_path: Path) -> None:
    """Two new rows after three kept positions see four and five of them, in scores and in sums of values."""
    work = count_attention(tmp_path / "attention.onnx", KEPT)
    assert work.operations == {"float32": 4 * HEADS * HEAD * (4 + 5)}
    assert work.bytes_read == 2 * 4 * KEPT * HEAD
    alone = count_attention(tmp_path / "alone.onnx", 0)
    assert alone.operations == {"float32": 4 * HEADS * HEAD * (1 + 2)}
    assert alone.bytes_read == 0


def test_in_one_buffer_of_the_greatest_length_the_engine_says_how_much_is_kept(tmp_path: Path) -> None:
    """As the chat model keeps them; where it does not say it, attention counts nothing."""
    work = count_attention(tmp_path / "attention.onnx", KEPT, buffer=16)
    assert work == count_attention(tmp_path / "apart.onnx", KEPT)
    silent = count_attention(tmp_path / "silent.onnx", KEPT, buffer=16, noted=False)
    assert (silent.operations, silent.bytes_read) == ({}, 0)


def count_attention(file: Path, kept: int, *, buffer: int | None = None, noted: bool = True) -> PartWork:
    """The work of one pass of two rows, with keys and values of one head for two of the queries.

    In a `buffer` of so many positions the shapes do not say how many of them are `kept`.
    """
    names = ["query", "key", "value", "keys.before", "values.before", "last", "total"]
    shapes: list[tuple[int, list[int | str]]] = [
        (TensorProto.FLOAT, [1, "rows", HEADS * HEAD]),
        (TensorProto.FLOAT, [1, "rows", HEAD]),
        (TensorProto.FLOAT, [1, "rows", HEAD]),
        (TensorProto.FLOAT, [1, 1, "kept", HEAD]),
        (TensorProto.FLOAT, [1, 1, "kept", HEAD]),
        (TensorProto.INT32, [1]),
        (TensorProto.INT32, []),
    ]
    node = helper.make_node(
        "GroupQueryAttention",
        names,
        ["out", "keys", "values"],
        domain="com.microsoft",
        num_heads=HEADS,
        kv_num_heads=1,
    )
    outs = (("out", [1, "rows", HEADS * HEAD]), ("keys", [1, 1, "all", HEAD]), ("values", [1, 1, "all", HEAD]))
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, *of) for name, of in zip(names, shapes, strict=True)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outs],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(file))
    sizes = {"rows": NEW, "kept": kept if buffer is None else buffer}
    values = {
        name: np.ones([sizes.get(str(size), size) for size in shape], np.float32)
        for name, (_, shape) in zip(names[:5], shapes[:5], strict=True)
    }
    values |= {"last": np.array([kept + NEW - 1], np.int32), "total": np.array(kept + NEW, np.int32)}
    with count_sessions() as counting:
        session = open_session(file, 1)
        counting.unit = 0
        with Recorder().record(), parts.part("decode"):
            if noted:
                parts.note_shape(parts.KEPT, kept)
            session.run(None, values)
        (work,) = counting.read(1)
    return work["decode"]


def test_sessions_are_the_library_s_own_again_afterwards() -> None:
    """Even if the work fails."""
    original = ort.InferenceSession

    def fail() -> None:
        with count_sessions():
            assert ort.InferenceSession is not original
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert ort.InferenceSession is original
