"""Gemma behind the agent's seam: scripted words, one for each token that was decoded; faults are one line."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.errors import EngineError
from turngap_agent.llm import Message, Request
from turngap_agent.llm.gemma import GemmaSettings
from turngap_agent.llm.gemma.decoding import Decoding
from turngap_agent.llm.gemma.engine import MARKS, GemmaChat


def settings(**changes: object) -> GemmaSettings:
    tiny = {"engine": "gemma", "architecture": "tiny", "device": "cpu", "positions": 512, "system_prompt": "Be brief."}
    return GemmaSettings.model_validate(tiny | changes)


def request(words: str = "Hello?", history: int = 0, most: int = 24) -> Request:
    said = tuple(Message("user" if n % 2 == 0 else "assistant", f"words number {n}") for n in range(history))
    return Request(call_block="A B C of this call.", history=said, words=words, max_tokens=most)


async def words(engine: GemmaChat, asked: Request) -> list[str]:
    return [piece async for piece in engine.reply(asked)]


@pytest.fixture(scope="module")
def engine() -> GemmaChat:
    made = settings().build()
    assert isinstance(made, GemmaChat)
    asyncio.run(made.warm_up())
    return made


def test_the_script_is_said_token_by_token(engine: GemmaChat) -> None:
    """The joined pieces are the script; fewer where fewer are asked for."""
    pieces = asyncio.run(words(engine, request()))
    assert "".join(pieces) == settings().reply
    assert asyncio.run(words(engine, request(most=3))) == pieces[:3]


def test_as_many_steps_are_run_as_words_are_said(engine: GemmaChat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights, real work: the prompt's last row gives the first token, each later one is a step."""
    steps: list[int] = []
    real = Decoding.tokens

    def counted(self: Decoding, position: int, count: int):  # type: ignore[no-untyped-def]
        for _ in real(self, position, count):
            steps.append(int(self._position))
            yield None

    monkeypatch.setattr(Decoding, "tokens", counted)
    pieces = asyncio.run(words(engine, request()))
    assert len(steps) == len(pieces)
    assert steps[-1] - steps[0] == len(pieces) - 2  # one step ahead of what is read, and none after the last


def test_a_history_that_does_not_fit_loses_its_oldest(engine: GemmaChat) -> None:
    """A long call goes on: what is taken in never passes the positions there are."""
    taken: list[int] = []
    real = engine._decoding.take_in
    engine._decoding.take_in = lambda ids, start: taken.append(len(ids)) or real(ids, start)  # type: ignore[method-assign,func-returns-value]
    try:
        asyncio.run(words(engine, request(history=200)))
    finally:
        del engine._decoding.take_in  # type: ignore[method-assign]
    assert 300 < engine._kept + taken[0] <= 512


def test_the_reply_has_the_length_that_is_asked_for(engine: GemmaChat) -> None:
    """Over the script's length and the profile's cap too: the script is said again, a piece for each token."""
    pieces = asyncio.run(words(engine, replace(request(), reply_tokens=30)))
    assert len(pieces) == 30
    assert "".join(pieces).startswith(f"{settings().reply} {settings().reply[:9]}")


def test_the_history_holds_the_ids_that_were_generated(engine: GemmaChat) -> None:
    """Not those of the scripted words; of a reply that was cut short, as many as its text has."""
    block = "Z Y X of this call."
    first = Request(call_block=block, history=(), words="Hello?", max_tokens=24, reply_tokens=6)
    said = "".join(asyncio.run(words(engine, first)))
    ids = engine._decoding.generated(6)
    scripted = engine._tokenizer.encode(said)
    assert ids != scripted
    later = Request(block, (Message("user", "Hello?"), Message("assistant", said)), "And then?", 24)
    cut = Request(block, (Message("user", "Hello?"), Message("assistant", "Certainly, I")), "And then?", 24)
    foreign = replace(later, call_block="another call")
    mark, asked = [0] * MARKS, engine._tokenizer.encode("And then?")
    assert engine._prompt(later, 4)[-len(mark + ids + mark + asked) :] == mark + ids + mark + asked
    assert engine._prompt(cut, 4)[-len(mark + mark + asked) - 3 :] == mark + ids[:3] + mark + asked
    assert engine._prompt(foreign, 4)[-len(mark + scripted + mark + asked) :] == mark + scripted + mark + asked


def test_closing_the_reply_stops_the_work(engine: GemmaChat) -> None:
    """A cancelled turn's engine is free for the next one."""

    async def cancelled() -> list[str]:
        reply = engine.reply(request())
        first = await anext(reply)
        await reply.aclose()
        return [first, *(await words(engine, request(most=2)))]

    assert len(asyncio.run(cancelled())) == 3


def test_words_too_long_for_the_positions_are_one_line(engine: GemmaChat) -> None:
    """The turn is lost with a message, not the engine."""
    with pytest.raises(EngineError, match=r"gemma: \d+ positions are needed, there are 512; this reply is lost"):
        asyncio.run(words(engine, request(words="word " * 600)))
    assert asyncio.run(words(engine, request(most=1)))


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is built."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"gemma: llm\.device is cuda, but torch sees no NVIDIA GPU"):
        settings(device="cuda").build()


@pytest.mark.parametrize("device", ["cuda:7", "toaster"])
def test_which_gpu_is_not_an_engines_to_say(device: str) -> None:
    """`gpu.device` chooses it for all."""
    with pytest.raises(ValidationError):
        settings(device=device)
