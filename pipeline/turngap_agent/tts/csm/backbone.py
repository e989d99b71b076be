"""CSM's backbone: from context and one position a frame to the hidden state and each frame's first code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from turngap_agent.device.attention import KeyValues
from turngap_agent.tts.csm.sampling import Sampling, sample
from turngap_agent.tts.csm.stack import LlamaStack


class Backbone:
    """The backbone's weights of a transformers CsmForConditionalGeneration, over `positions` places."""

    def __init__(self, network: Any, positions: int, sampling: Sampling, *, fused_attention: bool = False) -> None:
        config = network.config
        self.stack = LlamaStack(network.backbone_model, config, positions, fused_attention=fused_attention)
        self.sampling = sampling
        self.hidden_size: int = config.hidden_size
        self.text_embeddings: Tensor = network.embed_text_tokens.weight.data
        self.code_embeddings: Tensor = network.backbone_model.embed_tokens.embed_audio_tokens.weight.data
        device = self.code_embeddings.device
        self.offsets = torch.arange(config.num_codebooks, device=device) * config.vocab_size
        self.end_frame = torch.full((1, config.num_codebooks), config.codebook_eos_token_id, device=device)
        self.head: Tensor = network.lm_head.weight.data

    def embed_text(self, ids: Tensor) -> Tensor:
        """Return token ids (n,) as rows (n, hidden)."""
        return F.embedding(ids, self.text_embeddings)

    def embed_frames(self, codes: Tensor) -> Tensor:
        """Return audio frames (n, codebooks) as rows (n, hidden): the sum over a frame's codebooks."""
        return F.embedding(codes + self.offsets, self.code_embeddings).sum(dim=1)

    def prefill(
        self, rows: Tensor, cache: KeyValues, start: Tensor, last: Tensor, noise: Tensor, window: int
    ) -> StepOutput:
        """Compute context `rows` (T, hidden) from position `start` (1,) on; those after index `last` (1,) are padding.

        Padding rows write keys and values that later rows overwrite before anything attends to them.
        """
        positions = start + torch.arange(len(rows), device=rows.device)
        hidden = self.stack.forward(rows, cache, positions, window).index_select(0, last)
        return hidden, sample(F.linear(hidden, self.head), noise, self.sampling)

    def step(self, codes: Tensor, cache: KeyValues, position: Tensor, noise: Tensor, window: int) -> StepOutput:
        """Compute the frame `codes` (codebooks,) at `position` (1,)."""
        row = self.embed_frames(codes.unsqueeze(0))
        hidden = self.stack.forward(row, cache, position, window)
        return hidden, sample(F.linear(hidden, self.head), noise, self.sampling)

    def bytes_read(self) -> int:
        """Return the bytes of weights that one step reads, without keys and values."""
        return self.stack.bytes_read() + int(self.head.numel() * self.head.element_size())


StepOutput = tuple[Tensor, Tensor]
"""The last row's hidden state (1, hidden) and the next frame's first code (1,)."""
