"""The tokenizer, and the text of a reply, made of its tokens as they are chosen."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from turngap_agent import parts, worker
from turngap_agent.errors import EngineError, one_line


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


def load_tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer of a file.

    Raises:
        EngineError: it cannot be read.
    """
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library has no narrower class
        raise EngineError(
            f"llm: {file}: the tokenizer cannot be read ({one_line(error, 200)}); correct llm.model, or fetch the one "
            "that ships: python -m turngap_agent weights pull"
        ) from error
