"""The end of a call: the socket is closed whatever happens, and an end by the agent is described."""

from __future__ import annotations

import asyncio

from turngap.caller.caller_stream import CallerStream
from turngap.caller.conversation import Conversation


async def close_surely(stream: CallerStream | None) -> None:
    """Close the stream's socket, in a second at most; a cancellation meanwhile is deferred: a record is promised."""
    if stream is None:
        return
    closing = asyncio.ensure_future(stream.connection.close())
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()


def describe_agent_end(reason: str, after_ns: int, conversation: Conversation | None) -> str:
    """Return when and where the agent ended the call, and why, in one line."""
    spoken = conversation.spoken if conversation is not None else ()
    where = f"in turn {spoken[-1].utterance_id!r}" if spoken else "before the first turn"
    return f"the agent ended the call after {after_ns / 1e9:.1f} s, {where}: {reason}"
