"""Gemma behind the agent's interface: scripted words, one piece for each token decoded; errors of one line."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.errors import EngineError
from turngap_agent.llm import Message, Request
from turngap_agent.llm.gemma.decoding import Decoding
from turngap_agent.llm.gemma.engine import TEMPLATE_TOKENS, GemmaChat
from turngap_agent.llm.gemma.settings import GemmaSettings


def settings(**changes: object) -> GemmaSettings:
    tiny = {"engine": "gemma", "architecture": "tiny", "device": "cpu", "positions": 512, "system_prompt": "Be brief."}
    return GemmaSettings.model_validate(tiny | changes)


def request(words: str = "Hello?", history: int = 0, max_tokens: int = 24) -> Request:
    messages = tuple(Message("user" if n % 2 == 0 else "assistant", f"words number {n}") for n in range(history))
    return Request(call_block="A B C of this call.", history=messages, words=words, max_tokens=max_tokens)


async def reply_pieces(engine: GemmaChat, request: Request) -> list[str]:
    return [piece async for piece in engine.reply(request)]


@pytest.fixture(scope="module")
def engine() -> GemmaChat:
    loaded = settings().build()
    assert isinstance(loaded, GemmaChat)
    asyncio.run(loaded.warm_up())
    return loaded


def test_the_reply_is_the_script_token_by_token(engine: GemmaChat) -> None:
    """The joined pieces are the script; fewer where fewer tokens are requested."""
    pieces = asyncio.run(reply_pieces(engine, request()))
    assert "".join(pieces) == settings().reply
    assert asyncio.run(reply_pieces(engine, request(max_tokens=3))) == pieces[:3]


def test_a_step_runs_for_each_piece_of_the_reply(engine: GemmaChat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights, real work: the prompt's last row yields the first token, a step each later one."""
    steps: list[int] = []
    real = Decoding.tokens

    def count_steps(self: Decoding, position: int, count: int):  # type: ignore[no-untyped-def]
        for _ in real(self, position, count):
            steps.append(int(self._position))
            yield None

    monkeypatch.setattr(Decoding, "tokens", count_steps)
    pieces = asyncio.run(reply_pieces(engine, request()))
    assert len(steps) == len(pieces)
    assert steps[-1] - steps[0] == len(pieces) - 2  # one step ahead of what is read, and none after the last


def test_a_history_that_does_not_fit_loses_its_oldest_messages(engine: GemmaChat) -> None:
    """A long call continues: a prompt never has more than the positions of the cache."""
    lengths: list[int] = []
    real = engine._decoding.prefill
    engine._decoding.prefill = lambda ids, start: lengths.append(len(ids)) or real(ids, start)  # type: ignore[method-assign,func-returns-value]
    try:
        asyncio.run(reply_pieces(engine, request(history=200)))
    finally:
        del engine._decoding.prefill  # type: ignore[method-assign]
    assert 300 < engine._kept + lengths[0] <= 512


def test_the_reply_has_the_requested_length(engine: GemmaChat) -> None:
    """Also over the script's length and the profile's limit: the script is repeated, a piece for each token."""
    pieces = asyncio.run(reply_pieces(engine, replace(request(), reply_tokens=30)))
    assert len(pieces) == 30
    assert "".join(pieces).startswith(f"{settings().reply} {settings().reply[:9]}")


def test_the_history_contains_the_generated_ids(engine: GemmaChat) -> None:
    """Not those of the scripted words; of an interrupted reply, as many as its text has."""
    block = "Z Y X of this call."
    first = Request(call_block=block, history=(), words="Hello?", max_tokens=24, reply_tokens=6)
    text = "".join(asyncio.run(reply_pieces(engine, first)))
    ids = engine._decoding.generated(6)
    scripted = engine._tokenizer.encode(text)
    assert ids != scripted
    later = Request(block, (Message("user", "Hello?"), Message("assistant", text)), "And then?", 24)
    cut = Request(block, (Message("user", "Hello?"), Message("assistant", "Certainly, I")), "And then?", 24)
    foreign = replace(later, call_block="another call")
    mark, question = [0] * TEMPLATE_TOKENS, engine._tokenizer.encode("And then?")
    assert engine._prompt(later, 4)[-len(mark + ids + mark + question) :] == mark + ids + mark + question
    assert engine._prompt(cut, 4)[-len(mark + mark + question) - 3 :] == mark + ids[:3] + mark + question
    assert engine._prompt(foreign, 4)[-len(mark + scripted + mark + question) :] == mark + scripted + mark + question


def test_closing_the_reply_stops_the_work(engine: GemmaChat) -> None:
    """After a turn was cancelled the engine is free for the next one."""

    async def cancel_and_ask_again() -> list[str]:
        reply = engine.reply(request())
        first = await anext(reply)
        await reply.aclose()
        return [first, *(await reply_pieces(engine, request(max_tokens=2)))]

    assert len(asyncio.run(cancel_and_ask_again())) == 3


def test_words_too_long_for_the_positions_are_one_line(engine: GemmaChat) -> None:
    """The turn is lost with a message, not the engine."""
    with pytest.raises(EngineError, match=r"gemma: \d+ positions are needed, and there are 512; .*this reply is lost"):
        asyncio.run(reply_pieces(engine, request(words="word " * 600)))
    assert asyncio.run(reply_pieces(engine, request(max_tokens=1)))


def test_a_missing_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"gemma: llm\.device is cuda, but torch sees no NVIDIA GPU"):
        settings(device="cuda").build()


@pytest.mark.parametrize("device", ["cuda:7", "toaster"])
def test_an_engine_does_not_choose_the_gpu(device: str) -> None:
    """`gpu.device` chooses it for all engines."""
    with pytest.raises(ValidationError):
        settings(device=device)
