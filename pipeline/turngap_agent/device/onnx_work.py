"""What the ONNX models of an engine must read and compute, from their own graphs and the shapes they really ran with.

ONNX Runtime's profile has the shapes of each node's inputs and outputs, in each run; the graph as the runtime has
optimised it has the weights. Counted are products (matrices, convolutions, recurrent cells, attention with the keys and
values that it keeps); other operations need the same memory traffic or less, and are left out, so that what is counted
is the least.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from turngap_agent import parts
from turngap_agent.device.work import PartWork

_INT8 = (
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "ConvInteger",
    "QLinearMatMul",
    "QLinearConv",
    "QGemm",
    "QAttention",
)
_COMPUTE_IN_INT8 = 4
"""MatMulNBits: its `accuracy_level` for products in 8 bits."""
_ROWS_READ = ("Gather", "GatherElements", "GatherND", "GatherBlockQuantized")
"""They read rows of their weights, as many as they put out."""
_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv")
_ATTENTION = "GroupQueryAttention"
"""Its inputs and outputs of four dimensions are keys and values: (batch, heads, positions, width of a head)."""
_RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")

Shape = list[int]


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node of the optimised graph: its attributes, and its weights as (name, shape, bytes)."""

    attributes: Mapping[str, int]
    weights: tuple[tuple[str, tuple[int, ...], int], ...]


@dataclass(slots=True)
class CountingSessions:
    """The sessions that were opened while counting, and the unit and part of each of their runs."""

    folder: Path
    opened: list[Any] = field(default_factory=list)
    unit: int = -1
    """Number of the current unit; −1 before the first."""

    def read(self, units: int) -> list[dict[str, PartWork]]:
        """Return the work by part of each unit; ends the profiles."""
        work: list[dict[str, PartWork]] = [{} for _ in range(units)]
        for session in self.opened:
            nodes = read_graph(Path(session.optimised))
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
            runs = group_runs(events)
            for (unit, part, kept), run in zip(session.runs, runs, strict=True):
                if unit >= 0 and part is not None:
                    add_run(work[unit].setdefault(part, PartWork()), run, nodes, kept)
        return work


@contextmanager
def count_sessions() -> Iterator[CountingSessions]:
    """Let every session that is opened inside the context profile itself."""
    with tempfile.TemporaryDirectory(prefix="turngap-onnx-") as folder:
        counting = CountingSessions(Path(folder))
        original = ort.InferenceSession

        class Session(original):  # type: ignore[misc, valid-type]  # onnxruntime is not seen by the type check
            """A session that notes the part of each of its runs."""

            def __init__(self, model: Any, sess_options: Any = None, *arguments: Any, **more: Any) -> None:
                options = sess_options if sess_options is not None else ort.SessionOptions()
                number = len(counting.opened)
                options.enable_profiling = True
                options.profile_file_prefix = str(counting.folder / f"profile-{number}")
                self.optimised = str(counting.folder / f"graph-{number}.onnx")
                options.optimized_model_filepath = self.optimised
                super().__init__(name_nodes(model), options, *arguments, **more)
                self.runs: list[tuple[int, str | None, int | None]] = []
                counting.opened.append(self)

            def _note_run(self) -> None:
                self.runs.append((counting.unit, parts.find_current_part(), parts.find_shape(parts.KEPT)))

            def run(self, *arguments: Any, **more: Any) -> Any:
                self._note_run()
                return super().run(*arguments, **more)

            def run_with_iobinding(self, *arguments: Any, **more: Any) -> Any:
                self._note_run()
                return super().run_with_iobinding(*arguments, **more)

        ort.InferenceSession = Session
        try:
            yield counting
        finally:
            ort.InferenceSession = original


def name_nodes(model: str | bytes) -> bytes:
    """Return the bytes of a model, a file or its bytes, with a name for each node: the profile knows nodes by name."""
    loaded = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(str(model))
    _name_graph(loaded.graph, "n")
    named: bytes = loaded.SerializeToString()
    return named


def _name_graph(graph: Any, prefix: str) -> None:
    for index, node in enumerate(graph.node):
        node.name = node.name or f"{prefix}.{index}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _name_graph(attribute.g, f"{node.name}.{attribute.name}")


def group_runs(events: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the events of nodes by run of the session, in the order of the runs."""
    runs = sorted((one["ts"], one["ts"] + one["dur"]) for one in events if one.get("name") == "model_run")
    nodes = [one for one in events if one.get("cat") == "Node" and "output_type_shape" in one.get("args", {})]
    nodes.sort(key=lambda one: one["ts"])
    grouped: list[list[Mapping[str, Any]]] = [[] for _ in runs]
    at = 0
    for node in nodes:
        while at < len(runs) and runs[at][1] < node["ts"]:
            at += 1
        if at < len(runs) and runs[at][0] <= node["ts"]:
            grouped[at].append(node)
    return grouped


def read_graph(file: Path) -> dict[str, GraphNode]:
    """Return the nodes of a graph and of the graphs inside it, by name."""
    nodes: dict[str, GraphNode] = {}
    _read_nodes(onnx.load(str(file)).graph, {}, nodes)
    return nodes


def add_run(
    work: PartWork, run: Sequence[Mapping[str, Any]], nodes: Mapping[str, GraphNode], noted: int | None = None
) -> None:
    """Add to a part what one run of its session did; `noted` are the kept positions that the engine says."""
    read: dict[str, int] = {}
    for event in run:
        name, arguments = event["name"].removesuffix("_kernel_time"), event["args"]
        node = nodes.get(name, GraphNode({}, ()))
        operator = arguments["op_name"]
        inputs, outputs = (_shapes(arguments[f"{side}_type_shape"]) for side in ("input", "output"))
        if operator in _ROWS_READ:
            if node.weights:
                read[name] = sum(_bytes(arguments["output_type_shape"]))
        else:
            read |= {weight: size for weight, _, size in node.weights}
        kept = _count_kept(inputs, outputs, noted) if operator == _ATTENTION else None
        if kept is not None:
            # Only the kept positions: the new ones come from the step before, and may still be in a cache.
            window = node.attributes.get("local_window_size", -1)
            needed = min(kept, window - 1) if window > 0 else kept
            sizes = zip(inputs, _bytes(arguments["input_type_shape"]), strict=True)
            read[name] = sum(size * needed // shape[2] for shape, size in sizes if len(shape) == 4 and shape[2])
        operations = count_operations(operator, node, inputs, outputs, kept)
        if operations:
            work.add(_type(operator, node), operations)
    total = sum(read.values())
    work.weights_bytes = max(work.weights_bytes, total)
    work.bytes_read += total


def count_operations(
    operator: str, node: GraphNode, inputs: Sequence[Shape], outputs: Sequence[Shape], kept: int | None = None
) -> int:
    """Return the multiplications and additions of a node's products; 0 for a node without.

    `kept`: of attention, the positions from earlier passes; None, they are not known, and it counts nothing.
    """
    if not inputs or not outputs:
        return 0
    out = math.prod(outputs[0])
    matrices = [shape for _, shape, _ in node.weights if len(shape) >= 2]
    if operator == "MatMulNBits":
        return 2 * out * node.attributes["K"]
    if operator in ("Gemm", "FusedGemm", "QGemm"):
        inner = inputs[0][0] if node.attributes.get("transA") else inputs[0][-1]
        return 2 * out * inner
    if "MatMul" in operator and inputs[0]:
        transposed = node.attributes.get("transA") and len(inputs[0]) > 1
        return 2 * out * (inputs[0][-2] if transposed else inputs[0][-1])
    if operator in _CONVOLUTIONS and matrices:
        return 2 * out * math.prod(matrices[0]) // matrices[0][0]
    if operator == "ConvTranspose" and matrices:
        return 2 * math.prod(inputs[0]) * math.prod(matrices[0]) // matrices[0][0]
    if operator == _ATTENTION:
        return _count_attention(node, outputs, kept) if kept is not None else 0
    if operator in _RECURRENT:
        rows = inputs[0][0] * inputs[0][1]
        return 2 * rows * sum(math.prod(shape) for shape in matrices if len(shape) == 3)
    return 0


def _count_kept(inputs: Sequence[Shape], outputs: Sequence[Shape], noted: int | None) -> int | None:
    """Return how many positions attention has kept from earlier passes; None where nothing says it.

    Where keys and values lie in one buffer of the greatest length, its shapes do not; `noted` does, if the engine noted
    it (`parts.KEPT`).
    """
    before = [shape[2] for shape in inputs if len(shape) == 4]
    after = [shape[2] for shape in outputs if len(shape) == 4]
    if not before or not after or len(outputs[0]) != 3:
        return None
    if before[0] + outputs[0][1] == after[0]:
        return before[0]
    return noted if noted is not None and noted + outputs[0][1] <= after[0] else None


def _count_attention(node: GraphNode, outputs: Sequence[Shape], kept: int) -> int:
    """Return the operations of scores and of sums of values: each row sees what is kept, and up to itself."""
    batch, rows, width = outputs[0]
    window = node.attributes.get("local_window_size", -1)
    seen = (kept + row + 1 for row in range(rows))
    return 4 * batch * width * sum(min(every, window) if window > 0 else every for every in seen)


def _type(operator: str, node: GraphNode) -> str:
    if operator == "MatMulNBits":
        return "int8" if node.attributes.get("accuracy_level") == _COMPUTE_IN_INT8 else "float32"
    return "int8" if operator in _INT8 else "float32"


def _read_nodes(graph: Any, outer: Mapping[str, tuple[str, tuple[int, ...], int]], nodes: dict[str, GraphNode]) -> None:
    weights = dict(outer)
    for tensor in graph.initializer:
        weights[tensor.name] = (tensor.name, tuple(tensor.dims), tensor_bytes(tensor))
    for node in graph.node:
        numbers = {one.name: one.i for one in node.attribute if one.type == onnx.AttributeProto.INT}
        own = tuple(weights[name] for name in node.input if name in weights)
        nodes[node.name] = GraphNode(numbers, own)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _read_nodes(inner, weights, nodes)


def tensor_bytes(tensor: Any) -> int:
    """Return how many bytes the values of a tensor take."""
    item = int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    elements: int = math.prod(tensor.dims)
    return item * elements


def _shapes(listed: Sequence[Mapping[str, Shape]]) -> list[Shape]:
    return [shape for one in listed for shape in one.values()]


_SIZES = {
    "float": 4,
    "double": 8,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


def _bytes(listed: Sequence[Mapping[str, Shape]]) -> list[int]:
    return [_SIZES.get(kind, 4) * math.prod(shape) for one in listed for kind, shape in one.items()]
