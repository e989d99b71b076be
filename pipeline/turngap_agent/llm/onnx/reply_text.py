"""The text of a reply, made of its tokens as they are chosen."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from turngap_agent import parts, worker


class TokenText:
    """Emits the text of a reply's tokens; a character spread over several tokens is emitted with the last."""

    def __init__(self, tokenizer: Tokenizer, emit: worker.Emit[str | float]) -> None:
        self._tokenizer = tokenizer
        self._emit = emit
        self._stream = DecodeStream(skip_special_tokens=False)
        self._empty = True

    def push(self, token: int) -> bool:
        """Emit what `token` completes; return False when the reader has left."""
        with parts.part("text"):
            piece: str = self._stream.step(self._tokenizer, token) or ""
            if self._empty:
                piece = piece.lstrip()
            self._empty = self._empty and not piece
            return not piece or self._emit(piece)
