"""The GGUF conversion against a forward pass written out in numpy, and the real model's answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("onnx", reason="needs the extra `cpu`")
from tokenizers import Tokenizer  # part of the same extra
from turngap_agent import weights
from turngap_agent.errors import EngineError, WeightsError
from turngap_agent.llm.onnx.decoder import Decoder
from turngap_agent.weights import llama_onnx

from tests.pipeline.llm.vllm.checkpoints import half_split
from tests.pipeline.weights.small_llama import F32, HEAD, POSITIONS, TOKENS, forward, interleaved, random_weights, write

IDS = [1, 40, 3, 200, 77, 12, 2, 100]


def logits(folder: Path, ids: list[int]) -> F32:
    """After each of `ids`, shape (len(ids), vocabulary)."""
    decoder = Decoder(folder / "model.onnx", threads=1, positions=64)
    return np.array([decoder.new_context().compute_logits(ids[: n + 1], 0) for n in range(len(ids))])


def error(actual: F32, expected: F32) -> float:
    """The root mean square of the difference, as a share of the expected one's."""
    return float(np.sqrt(np.square(actual - expected).mean() / np.square(expected).mean()))


@pytest.mark.parametrize(("quantized", "tolerance"), [(False, 1e-5), (True, 0.1)])
def test_logits_are_the_originals(tmp_path: Path, quantized: bool, tolerance: float) -> None:
    """The converted model computes what the GGUF's weights say, within what 8 bits lose (of random ones, 5 %)."""
    tensors = random_weights()
    llama_onnx.convert(write(tmp_path / "m.gguf", tensors), tmp_path, quantized=quantized)
    expected = forward(tensors, IDS)
    assert error(logits(tmp_path, IDS), expected) < tolerance


@pytest.mark.parametrize(("quantized", "tolerance"), [(False, 1e-5), (True, 0.1)])
def test_tied_embeddings(tmp_path: Path, quantized: bool, tolerance: float) -> None:
    """Without an output matrix the embeddings are used for it, as small models do."""
    tensors = random_weights()
    del tensors["output"]
    llama_onnx.convert(write(tmp_path / "m.gguf", tensors), tmp_path, quantized=quantized)
    expected = forward(tensors | {"output": tensors["token_embd"]}, IDS)
    assert error(logits(tmp_path, IDS), expected) < tolerance


@given(arrays.arrays(np.float32, (3, 64), elements=st.floats(-8, 8, width=32)))
def test_eight_bits_are_as_near_as_they_can_be(matrix: F32) -> None:
    """No value is further off than half a step of its block, 1/127 of the block's largest; zeros stay zeros."""
    values, scales = llama_onnx.quantize(matrix)
    back = (values.astype(np.float32) - 128) * scales[..., None]
    blocks = matrix.reshape(3, 2, 32)
    steps = np.abs(blocks).max(-1, keepdims=True) / 127
    assert (np.abs(back - blocks) <= 0.5 * steps * 1.001 + 1e-30).all()
    assert (back[blocks == 0] == 0).all()


def test_blocks_of_q8_0_come_through_exactly() -> None:
    """Whole steps of a scale, as Q8_0 stores them, are the same steps here."""
    random = np.random.default_rng(3)
    steps = random.integers(-126, 127, (4, 64))
    steps[:, ::32] = 127
    matrix = (steps * 0.03125).astype(np.float32)
    values, scales = llama_onnx.quantize(matrix)
    np.testing.assert_array_equal(values.reshape(4, 64) - 128.0, steps)
    np.testing.assert_array_equal(scales, 0.03125)


def test_rows_of_no_whole_blocks_are_refused() -> None:
    """It says how long they are."""
    with pytest.raises(WeightsError, match="rows of 48: only multiples of 32"):
        llama_onnx.quantize(np.ones((2, 48), np.float32))


def test_half_split_undoes_the_storage_order() -> None:
    """Rows are in their original order, head by head; and the orders do differ."""
    rows = np.arange(2 * HEAD, dtype=np.float32)[:, None].repeat(3, axis=1)
    stored = interleaved(rows, 2)
    assert not np.array_equal(stored, rows)
    np.testing.assert_array_equal(half_split(stored, 2), rows)


@pytest.mark.parametrize("text", ["hello hello", "Say 42, please!", "naïve café — 日本", "  two  spaces\n"])
def test_tokenizer_round_trip(tmp_path: Path, text: str) -> None:
    """Text becomes positions in the GGUF's own token list and is decoded unchanged."""
    llama_onnx.convert(write(tmp_path / "m.gguf", random_weights()), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = tokenizer.encode(text, add_special_tokens=False)
    assert [TOKENS[index] for index in encoded.ids] == encoded.tokens
    assert tokenizer.decode(encoded.ids) == text


def test_tokenizer_merges_and_markers(tmp_path: Path) -> None:
    """Merges apply in their order, digits are separate, and chat markers are one token each, hidden when decoded."""
    llama_onnx.convert(write(tmp_path / "m.gguf", random_weights()), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = tokenizer.encode("<|im_start|>hello hello 12<|im_end|>", add_special_tokens=False)
    assert encoded.tokens == ["<|im_start|>", "hello", "Ġhello", "Ġ", "1", "2", "<|im_end|>"]
    assert tokenizer.decode(encoded.ids) == "hello hello 12"


def test_what_engines_need_is_written(tmp_path: Path) -> None:
    """The chat template is beside the model; the model knows how many positions it was made for."""
    llama_onnx.convert(write(tmp_path / "m.gguf", random_weights()), tmp_path)
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ messages }}"
    assert Decoder(tmp_path / "model.onnx", threads=1, positions=POSITIONS).positions == POSITIONS
    with pytest.raises(EngineError, match=rf"llm\.positions is {POSITIONS + 1}, .* {POSITIONS}; lower "):
        Decoder(tmp_path / "model.onnx", threads=1, positions=POSITIONS + 1)


def test_no_gguf(tmp_path: Path) -> None:
    """A file that is not a GGUF is one line."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\3\4 not a model, nor a long file")
    with pytest.raises(WeightsError, match="not a GGUF file"):
        llama_onnx.convert(path, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "mamba"}, "architecture is 'mamba'; only `llama`"),
        ({"pre": "qwen2"}, "pre-tokenizer 'qwen2' is not supported"),
        ({"tensors": {}}, r"no tensor 'token_embd\.weight'"),
    ],
)
def test_gguf_of_another_kind(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """A GGUF that cannot be converted says which part is foreign."""
    path = write(tmp_path / "m.gguf", **({"tensors": random_weights()} | change))  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=message):
        llama_onnx.convert(path, tmp_path)


@pytest.mark.engines
def test_real_model_answers() -> None:
    """The pinned SmolLM2, converted, answers a simple question rightly and stops by itself."""
    folder = weights.get("smollm2-135m-instruct")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = list(tokenizer.encode(prompt, add_special_tokens=False).ids)
    context = Decoder(folder / "model.onnx", threads=1, positions=128).new_context()
    end, n_prompt, chosen = tokenizer.token_to_id("<|im_end|>"), len(ids), int(context.compute_logits(ids, 0).argmax())
    while chosen != end and len(ids) < n_prompt + 40:
        ids.append(chosen)
        chosen = int(context.compute_logits(ids, len(ids) - 1).argmax())
    assert "Paris" in tokenizer.decode(ids[n_prompt:])
    assert len(ids) < n_prompt + 40
