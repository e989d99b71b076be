"""What random weights say: a script's text cut into tokens, as many as are asked for; pure."""

from __future__ import annotations

from turngap_agent.device.tokens import StandInTokenizer

_TOKENIZER = StandInTokenizer(1)


def pieces(script: str, tokens: int | None = None) -> list[str]:
    """`script` as its tokens; with `tokens` exactly so many of them, and the script again where it is shorter."""
    once = script.strip()
    if tokens is None or not once:
        return _TOKENIZER.pieces(once)
    found: list[str] = []
    while len(found) < tokens:
        found += _TOKENIZER.pieces(f" {once}" if found else once)
    return found[:tokens]
