"""A Llama-shaped GGUF made into a CTranslate2 model with its tokenizer: gguf, numpy and ctranslate2 alone, no torch.

Written are `model.bin`, `config.json`, `vocabulary.json` (CTranslate2), `tokenizer.json` (byte-level BPE, for the
tokenizers library) and `chat_template.jinja`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from ctranslate2.specs import common_spec, transformer_spec
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from pipeline.errors import WeightsError

F32 = npt.NDArray[np.float32]

_CONTROL_TOKEN = 3
"""`tokenizer.ggml.token_type` of tokens such as <|im_end|>."""

# How the vocabularies named in `tokenizer.ggml.pre` cut text before the byte-pair merges, as the tokenizer.json of the
# models' own repositories says it.
_PRE_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
}


def convert(source: Path, into: Path, quantization: str = "int8") -> None:
    """Write the GGUF file `source` as a CTranslate2 model into the folder `into`.

    Args:
        source: a GGUF of architecture `llama` with a byte-level BPE vocabulary.
        into: an existing folder.
        quantization: how CTranslate2 stores matrices.

    Raises:
        WeightsError: the file is no such GGUF.
        OSError: the file system refuses.
    """
    try:
        model = _Gguf(source)
    except ValueError as fault:
        raise WeightsError(f"{source}: not a GGUF file ({fault}): fetch it again") from None
    spec = _specification(model)
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(into))
    text = tokenizer(model.tokens, model.merges, model.control_tokens, model.pre_tokenizer).to_str(pretty=True)
    (into / "tokenizer.json").write_text(text, "utf-8")
    (into / "chat_template.jinja").write_text(model.chat_template, "utf-8")


def tokenizer(tokens: list[str], merges: list[str], control_tokens: list[str], pre: str) -> Tokenizer:
    """The byte-level BPE that a GGUF describes; token ids are positions in `tokens`.

    Raises:
        WeightsError: text is cut in a way (`pre`) that is not known here.
    """
    if pre not in _PRE_TOKENIZERS:
        raise WeightsError(f"GGUF pre-tokenizer {pre!r} is not supported; known: {', '.join(_PRE_TOKENIZERS)}")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    bpe = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=pairs))
    bpe.pre_tokenizer = _PRE_TOKENIZERS[pre]()
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control_tokens])
    return bpe


def half_split(weight: F32, heads: int) -> F32:
    """Rows of a query or key projection, shape (heads · d, n), back in the order of rotate-half rotary embeddings.

    GGUF stores the two halves of each head interleaved (row 2i rotates with row 2i+1); CTranslate2, like the original
    checkpoints, rotates row i with row i + d/2.
    """
    per_head = weight.shape[0] // heads
    return weight.reshape(heads, per_head // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


class _Gguf:
    """The parts of a GGUF file that a conversion reads, by meaning."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(str(path))
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._path = path
        if (architecture := self.field("general.architecture")) != "llama":
            raise WeightsError(f"{path}: its architecture is {architecture!r}; only `llama` is supported")
        self.layers = int(self.field("llama.block_count"))
        self.heads = int(self.field("llama.attention.head_count"))
        self.key_value_heads = int(self.field("llama.attention.head_count_kv", self.heads))
        self.rotary_base = float(self.field("llama.rope.freq_base", 10_000.0))
        self.epsilon = float(self.field("llama.attention.layer_norm_rms_epsilon"))
        self.tokens: list[str] = self.field("tokenizer.ggml.tokens")
        self.merges: list[str] = self.field("tokenizer.ggml.merges")
        self.pre_tokenizer: str = self.field("tokenizer.ggml.pre", "gpt-2")
        self.chat_template: str = self.field("tokenizer.chat_template", "")
        types = self.field("tokenizer.ggml.token_type")
        self.control_tokens = [t for t, kind in zip(self.tokens, types, strict=True) if kind == _CONTROL_TOKEN]

    def field(self, key: str, default: Any = None) -> Any:
        """A metadata value; raises when it is absent and there is no default."""
        if (found := self._fields.get(key)) is not None:
            return found.contents()
        if default is None:
            raise WeightsError(f"{self._path}: the GGUF has no {key!r}; it cannot be converted")
        return default

    def token(self, role: str) -> str:
        """The token that `tokenizer.ggml.<role>_token_id` names."""
        return self.tokens[int(self.field(f"tokenizer.ggml.{role}_token_id", 0))]

    def has(self, name: str) -> bool:
        return name in self._tensors

    def weight(self, name: str) -> F32:
        """The tensor as float32, rows first."""
        if name not in self._tensors:
            raise WeightsError(f"{self._path}: the GGUF has no tensor {name!r}; it cannot be converted")
        tensor = self._tensors[name]
        values: F32 = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        return values


def _specification(model: _Gguf) -> Any:
    """CTranslate2's description of the model, with its weights."""
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        model.layers,
        model.heads,
        num_heads_kv=model.key_value_heads,
        activation=common_spec.Activation.SWISH,
        pre_norm=True,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=0,
        rotary_interleave=False,
        rotary_base=model.rotary_base,
    )
    embeddings = model.weight("token_embd.weight")
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = embeddings
    spec.decoder.layer_norm.gamma = model.weight("output_norm.weight")
    tied = not model.has("output.weight")
    spec.decoder.projection.weight = embeddings if tied else model.weight("output.weight")
    for index, layer in enumerate(spec.decoder.layer):
        _fill_layer(layer, model, f"blk.{index}.")
    spec.register_vocabulary(model.tokens)
    spec.config.bos_token = model.token("bos")
    spec.config.eos_token = model.token("eos")
    spec.config.unk_token = model.token("unknown")
    spec.config.layer_norm_epsilon = model.epsilon
    return spec


def _fill_layer(layer: Any, model: _Gguf, prefix: str) -> None:
    def weight(name: str) -> F32:
        return model.weight(f"{prefix}{name}.weight")

    attention, feed_forward = layer.self_attention, layer.ffn
    attention.layer_norm.gamma = weight("attn_norm")
    query = half_split(weight("attn_q"), model.heads)
    key = half_split(weight("attn_k"), model.key_value_heads)
    attention.linear[0].weight = np.concatenate([query, key, weight("attn_v")])
    attention.linear[1].weight = weight("attn_output")
    feed_forward.layer_norm.gamma = weight("ffn_norm")
    feed_forward.linear_0.weight = weight("ffn_gate")
    feed_forward.linear_0_noact.weight = weight("ffn_up")
    feed_forward.linear_1.weight = weight("ffn_down")
