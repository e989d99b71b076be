"""The chat engine on a small model with random weights: its replies, what it keeps, and what it tells of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="needs the extra `cpu`")

import onnx
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm import InStep, Message, ReadsAhead, Request
from turngap_agent.llm.onnx import OnnxSettings
from turngap_agent.llm.onnx.engine import OnnxChat
from turngap_agent.weights import llama_onnx

from tests.pipeline.weights.small_llama import TOKENS, forward, random_weights, write

TENSORS = random_weights()
TOKENS_A_REPLY = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 32 bits: its replies are those of the forward pass written out."""
    folder = tmp_path_factory.mktemp("model")
    llama_onnx.convert(write(folder / "m.gguf", TENSORS), folder, quantized=False)
    return folder


def settings(model: Path, **more: Any) -> OnnxSettings:
    given = {
        "system_prompt": "hello hello",
        "max_tokens": TOKENS_A_REPLY,
        "repetition_penalty": 1,
        "positions": 256,
        "conversations": 2,
    }
    return OnnxSettings(**{"engine": "onnx", "model": str(model), **given, **more})


@pytest.fixture
def chat(model: Path) -> Iterator[OnnxChat]:
    engine = OnnxChat(settings(model))
    asyncio.run(engine.warm_up())
    yield engine
    asyncio.run(engine.close())


def request(words: str, call: str = "A", **more: Any) -> Request:
    return Request(**{"call_block": f"call {call}", "history": (), "words": words, "max_tokens": 24, **more})


def asked(chat: OnnxChat, *requests: Request) -> list[tuple[str, dict[str, Any]]]:
    """What was replied to each, one after the other, and what was told of it."""

    async def one(each: Request) -> tuple[str, dict[str, Any]]:
        facts: dict[str, Any] = {}
        return "".join([p async for p in chat.reply(replace(each, note=facts.__setitem__))]), facts

    async def all_of_them() -> list[tuple[str, dict[str, Any]]]:
        return [await one(each) for each in requests]

    return asyncio.run(all_of_them())


def counted(chat: OnnxChat) -> list[int]:
    """From now on, the length of what the model has run over, run by run."""
    steps: list[int] = []

    def counting(real: Callable[..., Any], ids: list[int], kept: int) -> Any:
        steps.append(len(ids))
        return real(ids, kept)

    for call in chat._calls:
        call.context.logits = partial(counting, call.context.logits)  # type: ignore[method-assign]
    return steps


def test_the_reply_is_the_models(chat: OnnxChat) -> None:
    """Token by token the likeliest of the forward pass over the whole prompt, nothing kept."""
    ids = chat._prompt(request("lo"), 0)
    n_prompt = len(ids)
    while len(ids) < n_prompt + TOKENS_A_REPLY and (chosen := int(forward(TENSORS, ids)[-1].argmax())) not in (0, 2):
        ids.append(chosen)
    expected = chat._tokenizer.decode(ids[n_prompt:])
    ((text, facts),) = asked(chat, request("lo"))
    assert text.strip() == expected.strip() != ""
    assert facts[tracing.LLM_PROMPT_TOKENS] == n_prompt


def test_it_says_what_it_can(chat: OnnxChat) -> None:
    """The seam's optional parts."""
    assert isinstance(chat, InStep)
    assert isinstance(chat, ReadsAhead)


def test_calls_in_turns_say_what_each_says_alone(model: Path, chat: OnnxChat) -> None:
    """Three calls on the room of two: replies do not depend on what was asked before."""
    requests = [request(words, call) for words in ("hello", "hello lo", "12") for call in "ABC"]
    alone = []
    for each in requests:
        fresh = OnnxChat(settings(model))
        alone += [text for text, _ in asked(fresh, each)]
        asyncio.run(fresh.close())
    assert [text for text, _ in asked(chat, *requests)] == alone


def test_a_call_is_served_from_its_own_past_alone(chat: OnnxChat) -> None:
    """The first request of a call finds the system prompt, however alike its block is; a later one what it has said."""
    first, again, other = asked(chat, request("hello", "AA"), request("hello lo", "AA"), request("hello", "AB"))
    system = len(chat._system)
    cached = [facts[tracing.PREFIX_CACHED_TOKENS] for _, facts in (first, again, other)]
    allowed = [facts[tracing.PREFIX_ALLOWED_TOKENS] for _, facts in (first, again, other)]
    assert (cached[0], cached[2]) == (allowed[0], allowed[2]) == (system, system)
    assert system < cached[1] <= allowed[1] == again[1][tracing.LLM_PROMPT_TOKENS]
    for _, facts in (first, again, other):
        assert all(facts[name] >= 0 for name in (tracing.LLM_QUEUE_MS, tracing.LLM_PREFILL_MS, tracing.LLM_DECODE_MS))


def test_what_was_read_ahead_is_not_read_again(model: Path, chat: OnnxChat) -> None:
    """Up to the caller's words all is there when the request comes; the reply is the same."""
    history = (Message("user", "hello"), Message("assistant", "lo lo"))
    coming = request("12 12", "A", history=history)
    fresh = OnnxChat(settings(model))
    asyncio.run(fresh.warm_up())
    ((text, late),) = asked(fresh, coming)
    asyncio.run(fresh.close())
    asyncio.run(chat.read_ahead(replace(coming, words="")))
    steps = counted(chat)
    asyncio.run(chat.read_ahead(replace(coming, words="")))
    assert steps == []  # nothing was left to read
    ((ahead_text, ahead),) = asked(chat, coming)
    assert ahead_text == text
    assert late[tracing.PREFIX_CACHED_TOKENS] == len(chat._system)
    unread = ahead[tracing.LLM_PROMPT_TOKENS] - ahead[tracing.PREFIX_CACHED_TOKENS]
    assert unread <= len(chat._ids("12 12<|im_end|>\n<|im_start|>assistant\n")) + 1


def test_nothing_is_read_ahead_while_a_reply_stands_still(chat: OnnxChat) -> None:
    """Another caller who begins to speak does not make the model finish what may be for nothing."""

    async def run() -> tuple[int, int]:
        stream = chat.reply(request("hello", "A"))
        await anext(stream)
        steps = counted(chat)
        await asyncio.wait_for(chat.read_ahead(request("", "B")), 10)
        while_held = len(steps)
        await stream.aclose()
        await asyncio.to_thread(chat._executor.submit(lambda: None).result)
        steps.clear()
        await chat.read_ahead(request("", "B"))
        return while_held, len(steps)

    held, after = asyncio.run(run())
    assert held <= 1  # the token that it was at
    assert after == 1


def test_a_call_that_has_ended_makes_room_first(chat: OnnxChat) -> None:
    """The one that goes on keeps its place, though it has been silent for longer."""
    asked(chat, request("hello", "A"), request("hello", "B"))
    chat.forget("call B")
    chat.forget("call X")  # never heard of
    (_, new), (_, old) = asked(chat, request("hello", "C"), request("hello lo", "A"))
    assert new[tracing.PREFIX_CACHED_TOKENS] == len(chat._system) < old[tracing.PREFIX_CACHED_TOKENS]


def test_the_oldest_messages_are_left_out_where_there_is_no_room(model: Path) -> None:
    """So that the reply fits; what is left begins alike from turn to turn."""
    chat = OnnxChat(settings(model, positions=256))
    said = tuple(Message(role, "hello 12") for _ in range(20) for role in ("user", "assistant"))  # type: ignore[arg-type]
    prompts = [chat._prompt(request("lo", history=said[:n]), TOKENS_A_REPLY) for n in (2, 36, 38)]
    assert all(len(ids) + TOKENS_A_REPLY <= 256 for ids in prompts)
    whole = OnnxChat(settings(model, positions=512))._prompt(request("lo", history=said[:36]), TOKENS_A_REPLY)
    assert len(prompts[1]) < len(whole)
    assert prompts[2][: len(prompts[1]) - 30] == prompts[1][:-30]
    asyncio.run(chat.close())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", None, r"tokenizer\.json: no tokenizer that can be read \(.+\); correct llm\.model"),
        ("tokenizer.json", b'{"version": ', r"tokenizer\.json: no tokenizer that can be read"),
        ("model.onnx", None, r"model\.onnx is no chat model that turngap has converted \(.+\); correct llm\.model"),
        ("model.onnx", b"", r"model\.onnx is no chat model"),
        ("model.onnx", b"not a model", r"model\.onnx is no chat model"),
        ("model.onnx", "another", r"model\.onnx is no chat model that turngap has converted \(another model\)"),
    ],
)
def test_a_folder_that_is_no_model_is_named(
    model: Path, tmp_path: Path, name: str, content: bytes | str | None, said: str
) -> None:
    """File, cause and remedy in one line."""
    for file in ("model.onnx", "tokenizer.json"):
        (tmp_path / file).write_bytes((model / file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        other = onnx.load(str(model / "model.onnx"))
        del other.metadata_props[:]
        onnx.save(other, str(tmp_path / name))
    with pytest.raises(EngineError, match=said) as raised:
        OnnxChat(settings(tmp_path))
    assert "\n" not in str(raised.value)


def test_room_for_no_reply_is_refused_at_once(model: Path) -> None:
    """A system prompt that leaves none would lose every turn."""
    with pytest.raises(EngineError, match=r"the prompt has \d+ tokens and the reply 250, .* 256 of llm\.positions"):
        OnnxChat(settings(model, max_tokens=250))


def test_a_prompt_that_cannot_fit_says_what_to_change(model: Path) -> None:
    """The turn is lost, in one line; the call and the engine are not."""
    chat = OnnxChat(settings(model, positions=256))
    with pytest.raises(
        EngineError, match=r"^llm: the prompt has \d+ tokens and the reply 6, .* 256 of llm\.positions; "
    ):
        asked(chat, request("x" * 300))
    assert asked(chat, request("lo"))[0][0]
    asyncio.run(chat.close())


def test_an_engine_that_fails_is_one_line(chat: OnnxChat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model and cause; the next reply is what it would have been."""

    def failing(*_: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 6 :\nout of memory")

    ((text, _),) = asked(chat, request("lo"))
    with monkeypatch.context() as broken:
        for call in chat._calls:
            broken.setattr(call.context, "logits", failing)
        with pytest.raises(EngineError, match=r"^llm: \S+ failed: \[ONNXRuntimeError\] : 6 : out of memory$"):
            asked(chat, request("lo"))
    assert asked(chat, request("lo"))[0][0] == text


def test_closing_a_reply_stops_the_model(model: Path) -> None:
    """After the reader leaves at the first piece no more is made than what it was at, though the reply has more.

    (A piece may take some tokens: a character of a random model's reply is often never completed.)
    """
    chat = OnnxChat(settings(model, min_tokens=40, max_tokens=40))
    asyncio.run(chat.warm_up())
    steps = counted(chat)

    async def leave_at_the_first() -> None:
        stream = chat.reply(request("hello", "L", max_tokens=40))
        await anext(stream)
        await stream.aclose()
        await asyncio.to_thread(chat._executor.submit(lambda: None).result)

    asyncio.run(leave_at_the_first())
    left = len(steps)
    steps.clear()
    asked(chat, request("hello", "L", max_tokens=40))
    assert len(steps) == 40
    assert left < 20
    asyncio.run(chat.close())


def test_the_vocabulary_is_in_the_order_of_its_ids(chat: OnnxChat) -> None:
    """Token by id."""
    assert chat._vocabulary == TOKENS
