"""A language model that fails in a turn: the caller hears an apology, and the turn is known to have failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from turngap_agent.errors import EngineError


async def excused(
    pieces: AsyncGenerator[str, None], apology: str, failed: Callable[[EngineError], None]
) -> AsyncGenerator[str, None]:
    """The model's pieces; when it fails, `failed` is told and the apology follows, after what was said already.

    Raises:
        EngineError: the model failed, and there is no apology.
    """
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    except EngineError as fault:
        if not apology:
            raise
        failed(fault)
        yield f"\n{apology}"  # a line break ends the clause that broke off
