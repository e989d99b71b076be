"""The GGUF conversion against a forward pass written out in numpy, and the real model's answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

ctranslate2 = pytest.importorskip("ctranslate2")
gguf_format = pytest.importorskip("gguf")
from tokenizers import Tokenizer  # noqa: E402 - comes with the same extra

from pipeline import weights  # noqa: E402
from pipeline.errors import WeightsError  # noqa: E402
from pipeline.weights import gguf  # noqa: E402

F32 = npt.NDArray[np.float32]
LAYERS, HEADS, KEY_VALUE_HEADS, WIDTH, INNER = 2, 4, 2, 32, 48
HEAD = WIDTH // HEADS
BASE, EPSILON = 100_000.0, 1e-5
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _byte_tokens() -> list[str]:
    """The 256 printable stand-ins for bytes that byte-level BPE uses, GPT-2's table."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {**{byte: byte for byte in printable}, **{byte: 256 + n for n, byte in enumerate(others)}}
    return [chr(table[byte]) for byte in range(256)]


TOKENS = [*CONTROL, *_byte_tokens(), "he", "hel", "lo", "hello", "Ġhello", "12"]
MERGES = ["h e", "he l", "l o", "hel lo", "Ġ hello", "1 2"]


def _weights() -> dict[str, F32]:
    """Random weights under their GGUF names, queries and keys in the original (rotate-half) order."""
    random = np.random.default_rng(7)
    shapes = {"token_embd": (len(TOKENS), WIDTH), "output": (len(TOKENS), WIDTH)}
    for i in range(LAYERS):
        shapes |= {
            f"blk.{i}.attn_q": (WIDTH, WIDTH),
            f"blk.{i}.attn_k": (KEY_VALUE_HEADS * HEAD, WIDTH),
            f"blk.{i}.attn_v": (KEY_VALUE_HEADS * HEAD, WIDTH),
            f"blk.{i}.attn_output": (WIDTH, WIDTH),
            f"blk.{i}.ffn_gate": (INNER, WIDTH),
            f"blk.{i}.ffn_up": (INNER, WIDTH),
            f"blk.{i}.ffn_down": (WIDTH, INNER),
        }
    tensors = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ["output_norm", *(f"blk.{i}.{part}_norm" for i in range(LAYERS) for part in ("attn", "ffn"))]
    return tensors | {name: random.uniform(0.5, 1.5, WIDTH).astype(np.float32) for name in norms}


def _write(path: Path, tensors: dict[str, F32], architecture: str = "llama", pre: str = "smollm") -> Path:
    writer = gguf_format.GGUFWriter(str(path), architecture)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(TOKENS) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    for name, tensor in tensors.items():
        heads = {"attn_q": HEADS, "attn_k": KEY_VALUE_HEADS}.get(name.rpartition(".")[2])
        writer.add_tensor(f"{name}.weight", _interleaved(tensor, heads) if heads else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleaved(weight: F32, heads: int) -> F32:
    """Row i of each head to row 2i, row i + d/2 to row 2i + 1: how GGUF stores Llama's queries and keys."""
    stored = np.empty_like(weight).reshape(heads, HEAD, -1)
    original = weight.reshape(heads, HEAD, -1)
    stored[:, 0::2] = original[:, : HEAD // 2]
    stored[:, 1::2] = original[:, HEAD // 2 :]
    return stored.reshape(weight.shape)


def _forward(w: dict[str, F32], ids: list[int]) -> F32:
    """A Llama's logits, shape (len(ids), vocabulary)."""
    x = w["token_embd"][ids]
    for i in range(LAYERS):
        layer = {name.removeprefix(f"blk.{i}."): value for name, value in w.items() if name.startswith(f"blk.{i}.")}
        h = _norm(x, layer["attn_norm"])
        q = _rotate((h @ layer["attn_q"].T).reshape(len(ids), HEADS, HEAD))
        k = _rotate((h @ layer["attn_k"].T).reshape(len(ids), KEY_VALUE_HEADS, HEAD))
        v = (h @ layer["attn_v"].T).reshape(len(ids), KEY_VALUE_HEADS, HEAD)
        shared = HEADS // KEY_VALUE_HEADS
        k, v = k.repeat(shared, axis=1), v.repeat(shared, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD)
        scores = np.where(np.tri(len(ids), dtype=bool), scores, -np.inf)
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", attention, v).reshape(len(ids), WIDTH) @ layer["attn_output"].T
        h = _norm(x, layer["ffn_norm"])
        gate = h @ layer["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ layer["ffn_up"].T)) @ layer["ffn_down"].T
    return np.asarray(_norm(x, w["output_norm"]) @ w["output"].T, dtype=np.float32)


def _norm(x: F32, gamma: F32) -> F32:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * gamma


def _rotate(x: F32) -> F32:
    """Rotary embeddings, element i of a head with element i + d/2."""
    angles = np.arange(len(x))[:, None] * BASE ** (-np.arange(0, HEAD, 2) / HEAD)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(np.float32)


def _logits(folder: Path, ids: list[int]) -> F32:
    generator = ctranslate2.Generator(str(folder), device="cpu", intra_threads=1)
    logits = np.array(generator.forward_batch([[TOKENS[i] for i in ids]]))[0]
    del generator
    return logits


IDS = [1, 40, 3, 200, 77, 12, 2, 100]


@pytest.mark.parametrize(("quantization", "tolerance"), [("float32", 1e-4), ("int8", 0.05)])
def test_logits_are_the_originals(tmp_path: Path, quantization: str, tolerance: float) -> None:
    """The converted model computes what the GGUF's weights say, within what its quantisation loses."""
    tensors = _weights()
    gguf.convert(_write(tmp_path / "m.gguf", tensors), tmp_path, quantization)
    expected = _forward(tensors, IDS)
    error = np.abs(_logits(tmp_path, IDS) - expected).max() / np.abs(expected).max()
    assert error < tolerance


def test_tied_embeddings(tmp_path: Path) -> None:
    """Without an output matrix the embeddings are used for it, as small models do."""
    tensors = _weights()
    del tensors["output"]
    gguf.convert(_write(tmp_path / "m.gguf", tensors), tmp_path, "float32")
    expected = _forward(tensors | {"output": tensors["token_embd"]}, IDS)
    np.testing.assert_allclose(_logits(tmp_path, IDS), expected, atol=1e-3)


def test_half_split_undoes_the_storage_order() -> None:
    """Rows come back in their order, head by head; and the order does differ."""
    rows = np.arange(2 * HEAD, dtype=np.float32)[:, None].repeat(3, axis=1)
    stored = _interleaved(rows, 2)
    assert not np.array_equal(stored, rows)
    np.testing.assert_array_equal(gguf.half_split(stored, 2), rows)


@pytest.mark.parametrize("text", ["hello hello", "Say 42, please!", "naïve café — 日本", "  two  spaces\n"])
def test_tokenizer_round_trip(tmp_path: Path, text: str) -> None:
    """Text becomes positions in the GGUF's own token list and comes back unchanged."""
    gguf.convert(_write(tmp_path / "m.gguf", _weights()), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = tokenizer.encode(text, add_special_tokens=False)
    assert [TOKENS[index] for index in encoded.ids] == encoded.tokens
    assert tokenizer.decode(encoded.ids) == text


def test_tokenizer_merges_and_markers(tmp_path: Path) -> None:
    """Merges apply in their order, digits stand alone, and chat markers are one token each, hidden when decoded."""
    gguf.convert(_write(tmp_path / "m.gguf", _weights()), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    encoded = tokenizer.encode("<|im_start|>hello hello 12<|im_end|>", add_special_tokens=False)
    assert encoded.tokens == ["<|im_start|>", "hello", "Ġhello", "Ġ", "1", "2", "<|im_end|>"]
    assert tokenizer.decode(encoded.ids) == "hello hello 12"


def test_what_engines_need_is_written(tmp_path: Path) -> None:
    """Beside the model stand its chat template and the tokens that begin and end a message."""
    gguf.convert(_write(tmp_path / "m.gguf", _weights()), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert config["layer_norm_epsilon"] == pytest.approx(EPSILON)
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ messages }}"


def test_no_gguf(tmp_path: Path) -> None:
    """A file that is no GGUF is one line."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\3\4 not a model, nor a long file")
    with pytest.raises(WeightsError, match="not a GGUF file"):
        gguf.convert(path, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "mamba"}, "architecture is 'mamba'; only `llama`"),
        ({"pre": "qwen2"}, "pre-tokenizer 'qwen2' is not supported"),
        ({"tensors": {}}, r"no tensor 'token_embd\.weight'"),
    ],
)
def test_gguf_of_another_kind(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """A GGUF that cannot be converted says which part is foreign."""
    path = _write(tmp_path / "m.gguf", **({"tensors": _weights()} | change))  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=said):
        gguf.convert(path, tmp_path)


@pytest.mark.engines
def test_real_model_answers() -> None:
    """The pinned SmolLM2, converted, answers a simple question rightly and stops by itself."""
    folder = weights.get("smollm2-135m-instruct")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens = tokenizer.encode(prompt, add_special_tokens=False).tokens
    generator = ctranslate2.Generator(str(folder), device="cpu", compute_type="int8", intra_threads=1)
    (result,) = generator.generate_batch([tokens], max_length=40, include_prompt_in_result=False)
    del generator
    assert "Paris" in tokenizer.decode(result.sequences_ids[0])
    assert len(result.sequences_ids[0]) < 40
