"""Work counted from a CTranslate2 model's own file, by the shapes that the engine noted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from turngap_agent.device.ctranslate2_work import Variable, count_whisper, read_variables
from turngap_agent.errors import EngineError
from turngap_agent.parts import Shape

D = 8
VARIABLES = {
    "encoder/conv1/weight": (D, 4, 3),
    "encoder/conv2/weight": (D, D, 3),
    "encoder/layer_0/self_attention/linear_0/weight": (3 * D, D),
    "encoder/layer_norm/gamma": (D,),
    "decoder/embeddings/weight": (50, D),
    "decoder/position_encodings/encodings": (16, D),
    "decoder/layer_0/ffn/linear_0/weight": (4 * D, D),
    "decoder/layer_0/attention/linear_1/weight": (2 * D, D),
    "decoder/layer_norm/gamma": (D,),
}
SHAPES = [
    Shape("encoder", "positions", 10),
    Shape("decoder", "positions", 20),
    Shape("decoder", "prompt", 2),
    Shape("decoder", "tokens", 5),
]


def write_model(path: Path, variables: dict[str, tuple[int, ...]]) -> Path:
    """As CTranslate2 writes it: float32 values of 0."""

    def text(value: str) -> bytes:
        return struct.pack("H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("I", 6) + text("WhisperSpec") + struct.pack("I", 3) + struct.pack("I", len(variables))
    for name, shape in variables.items():
        elements = 1
        for size in shape:
            elements *= size
        content += text(name) + struct.pack("B", len(shape)) + b"".join(struct.pack("I", size) for size in shape)
        content += struct.pack("B", 0) + struct.pack("I", 4 * elements) + bytes(4 * elements)
    path.write_bytes(content + struct.pack("I", 0))
    return path


def test_the_variables_of_a_file_are_read(tmp_path: Path) -> None:
    """With their shapes, without their values."""
    found = read_variables(write_model(tmp_path / "model.bin", VARIABLES))
    assert found == tuple(Variable(name, shape) for name, shape in VARIABLES.items())


@pytest.mark.parametrize("content", [b"", b"\x06\0\0\0", b"\xff\xff\xff\xff", b"PK\x03\x04"])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """A truncated one, another version, no model at all."""
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(EngineError, match=r"model\.bin"):
        read_variables(tmp_path / "model.bin")


def test_each_pass_reads_matrices_embeddings_and_what_attention_has_kept(tmp_path: Path) -> None:
    """In 8 bits: a byte a weight; five tokens are six passes, and the encoder's states are projected once.

    Each pass after the first reads keys and values, of 4 bytes, of 20 positions of the encoder and of its own: the
    prompt's two, then one more in each.
    """
    work = count_whisper(read_variables(write_model(tmp_path / "model.bin", VARIABLES)), "int8", SHAPES)
    per_pass = 50 * D + 4 * D * D
    position = 2 * D * 4
    assert work["decoder"].weights_bytes == per_pass + (20 + 6) * position
    assert work["decoder"].bytes_read == 6 * per_pass + 2 * D * D + (5 * 20 + 2 + 3 + 4 + 5 + 6) * position
    assert work["decoder"].operations["int8"] == 2 * 7 * per_pass + 2 * 20 * 2 * D * D
    own = 1 + 2 + 3 + 4 + 5 + 6 + 7  # each of seven tokens sees itself and those before
    assert work["decoder"].operations["float32"] == 4 * (7 * 20 + own) * D
    assert work["encoder"].bytes_read == 3 * D * D + 4 * (4 * D * 3 + D * D * 3)
    assert work["encoder"].operations["int8"] == 2 * 10 * 3 * D * D


def test_a_doubled_decoder_is_in_the_decoder_s_work_alone(tmp_path: Path) -> None:
    """A layer more."""
    more = {name.replace("layer_0", "layer_1"): shape for name, shape in VARIABLES.items() if "decoder/layer_0" in name}
    small, large = (
        count_whisper(read_variables(write_model(tmp_path / "model.bin", variables)), "int8", SHAPES)
        for variables in (VARIABLES, VARIABLES | more)
    )
    assert large["encoder"] == small["encoder"]
    attention = (5 * 20 + 2 + 3 + 4 + 5 + 6) * 2 * D * 4
    assert large["decoder"].bytes_read - small["decoder"].bytes_read == 6 * 4 * D * D + 2 * D * D + attention


@pytest.mark.parametrize(
    ("compute_type", "linear", "other"),
    [("int8_float32", "int8", "float32"), ("int8_float16", "int8", "float16"), ("float16", "float16", "float16")],
)
def test_what_is_not_a_matrix_has_the_type_of_the_computation(
    tmp_path: Path, compute_type: str, linear: str, other: str
) -> None:
    """Convolutions and attention, their bytes and their operations."""
    variables = read_variables(write_model(tmp_path / "model.bin", VARIABLES))
    work = count_whisper(variables, compute_type, SHAPES)["encoder"]
    size = {"int8": 1, "float16": 2, "float32": 4}
    assert work.bytes_read == size[linear] * 3 * D * D + size[other] * (4 * D * 3 + D * D * 3)
    assert set(work.operations) == {linear, other}
