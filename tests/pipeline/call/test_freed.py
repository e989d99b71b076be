"""What a call held is freed when it ends, and does not wait for the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from turngap_agent.call import turns
from turngap_agent.call.call import Call
from turngap_agent.call.reply import Reply
from turngap_agent.server import stream
from turngap_agent.tts.scripted import ScriptedSynthesizer, ScriptedTtsSettings

from tests.pipeline.conftest import wait_until

pytestmark = pytest.mark.anyio
SLOW = ScriptedSynthesizer(ScriptedTtsSettings(engine="scripted", first_audio_ms=60_000))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """All calls and replies that were made; nothing but the end of all references frees them."""
    made: list[weakref.ref[Any]] = []

    class NotedCall(Call):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    class NotedReply(Reply):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(stream, "Call", NotedCall)
    monkeypatch.setattr(turns, "Reply", NotedReply)
    gc.disable()
    yield made
    gc.enable()


@pytest.mark.parametrize(
    ("reply", "settings"),
    [
        ("answer", ()),
        ("cancelled", ()),
        ("failed", ("deadlines.tts_first_audio_ms=50",)),
        ("spoken over", ("tts.ms_per_character=300",)),
    ],
)
async def test_an_ended_call_is_freed_at_once(serve, held, reply: str, settings: tuple[str, ...]) -> None:
    """With its replies and their audio, however they ended; the second one by the end of the call."""
    slow = {"tts": SLOW} if reply in ("cancelled", "failed") else {}
    async with serve("endpointing.policy=speculative", *settings, **slow) as served:
        async with served.phone() as phone:
            await phone.ask()
            match reply:
                case "cancelled":
                    await wait_until(lambda: len(held) == 2)
                case "spoken over":
                    await phone.receive()
                    await phone.speak(1000)
                    await phone.cleared()
                case _:
                    await phone.reply()
                    await phone.ask()
            await phone.hang_up()
        await served.idle()
        assert len(held) >= 2
        await wait_until(lambda: all(one() is None for one in held))
