"""Read a GGUF file of the Llama architecture: sizes, matrices, vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from turngap_agent.errors import WeightsError

F32 = npt.NDArray[np.float32]

_CONTROL_TOKEN = 3
"""`tokenizer.ggml.token_type` of tokens such as <|im_end|>."""

# How the vocabularies named in `tokenizer.ggml.pre` split text before the byte-pair merges, from the tokenizer.json of
# the models' own repositories.
_PRE_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
}


class Gguf:
    """A GGUF of architecture `llama` with a byte-level BPE vocabulary."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            WeightsError: it is not such a GGUF.
            OSError: the file system refuses.
        """
        try:
            reader = gguf.GGUFReader(str(path))
        except ValueError as error:
            raise WeightsError(f"{path}: not a GGUF file ({error}): fetch it again") from None
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._path = path
        if (architecture := self.field("general.architecture")) != "llama":
            raise WeightsError(f"{path}: its architecture is {architecture!r}; only `llama` is supported")
        self.layers = int(self.field("llama.block_count"))
        self.heads = int(self.field("llama.attention.head_count"))
        self.key_value_heads = int(self.field("llama.attention.head_count_kv", self.heads))
        self.positions = int(self.field("llama.context_length", 2048))
        """The most tokens a conversation may have."""
        self.rotary_base = float(self.field("llama.rope.freq_base", 10_000.0))
        self.epsilon = float(self.field("llama.attention.layer_norm_rms_epsilon"))
        self.tokens: list[str] = self.field("tokenizer.ggml.tokens")
        self.merges: list[str] = self.field("tokenizer.ggml.merges")
        self.pre_tokenizer: str = self.field("tokenizer.ggml.pre", "gpt-2")
        self.chat_template: str = self.field("tokenizer.chat_template", "")
        types = self.field("tokenizer.ggml.token_type")
        self.control_tokens = [t for t, kind in zip(self.tokens, types, strict=True) if kind == _CONTROL_TOKEN]

    def field(self, key: str, default: Any = None) -> Any:
        """Return a metadata value; raise a `WeightsError` if it is absent and there is no default."""
        if (value := self._fields.get(key)) is not None:
            return value.contents()
        if default is None:
            raise WeightsError(f"{self._path}: the GGUF has no {key!r}; it cannot be converted")
        return default

    def tokenizer(self) -> Tokenizer:
        """Return its byte-level BPE; token ids are positions in `tokens`.

        Raises:
            WeightsError: its `pre_tokenizer` is not supported.
        """
        if (pre := self.pre_tokenizer) not in _PRE_TOKENIZERS:
            raise WeightsError(f"GGUF pre-tokenizer {pre!r} is not supported; known: {', '.join(_PRE_TOKENIZERS)}")
        pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in self.merges)]
        bpe = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(self.tokens)}, merges=pairs))
        bpe.pre_tokenizer = _PRE_TOKENIZERS[pre]()
        bpe.decoder = decoders.ByteLevel()
        bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in self.control_tokens])
        return bpe

    def has(self, name: str) -> bool:
        """Whether it has this tensor."""
        return name in self._tensors

    def weight(self, name: str) -> F32:
        """Return the tensor as float32, rows first; of queries and keys, row 2i of a head rotates with row 2i + 1."""
        if name not in self._tensors:
            raise WeightsError(f"{self._path}: the GGUF has no tensor {name!r}; it cannot be converted")
        tensor = self._tensors[name]
        values: F32 = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        return values
