"""A small Llama with random weights: written as a GGUF file, and its forward pass written out in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

gguf_format = pytest.importorskip("gguf", reason="needs the extra `cpu`")

F32 = npt.NDArray[np.float32]
LAYERS, HEADS, KEY_VALUE_HEADS, WIDTH, INNER = 2, 4, 2, 64, 96
HEAD = WIDTH // HEADS
POSITIONS = 512
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


def random_weights() -> dict[str, F32]:
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


def write(path: Path, tensors: dict[str, F32], architecture: str = "llama", pre: str = "smollm") -> Path:
    """Write a GGUF file of `tensors`, by their names without `.weight`."""
    writer = gguf_format.GGUFWriter(str(path), architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(POSITIONS)
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
        writer.add_tensor(f"{name}.weight", interleaved(tensor, heads) if heads else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(weight: F32, heads: int) -> F32:
    """Row i of each head to row 2i, row i + d/2 to row 2i + 1: how GGUF stores Llama's queries and keys."""
    stored = np.empty_like(weight).reshape(heads, HEAD, -1)
    original = weight.reshape(heads, HEAD, -1)
    stored[:, 0::2] = original[:, : HEAD // 2]
    stored[:, 1::2] = original[:, HEAD // 2 :]
    return stored.reshape(weight.shape)


def forward(w: dict[str, F32], ids: list[int]) -> F32:
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
