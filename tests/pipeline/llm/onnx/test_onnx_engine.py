"""The chat engine on a small model with random weights: its replies, what it keeps, and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the extra `cpu`")

import numpy as np
import onnx
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm import GeneratesOnDemand, Message, ReadsAhead, Request
from turngap_agent.llm.onnx import engine as engine_module
from turngap_agent.llm.onnx.engine import OnnxChat
from turngap_agent.llm.onnx.reply_text import TokenText
from turngap_agent.llm.onnx.settings import OnnxSettings
from turngap_agent.weights import llama_onnx

from tests.pipeline.weights.small_llama import TOKENS, forward, random_weights, write

pytestmark = pytest.mark.xdist_group("onnx")

TENSORS = random_weights()
TOKENS_PER_REPLY = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 32 bits: its replies are those of the forward pass in numpy."""
    folder = tmp_path_factory.mktemp("model")
    llama_onnx.convert(write(folder / "m.gguf", TENSORS), folder, quantized=False)
    return folder


def settings(model: Path, **more: Any) -> OnnxSettings:
    defaults = {
        "system_prompt": "hello hello",
        "max_tokens": TOKENS_PER_REPLY,
        "repetition_penalty": 1,
        "positions": 256,
        "conversations": 2,
    }
    return OnnxSettings(**{"engine": "onnx", "model": str(model), **defaults, **more})


@pytest.fixture
def chat(model: Path) -> Iterator[OnnxChat]:
    engine = OnnxChat(settings(model))
    asyncio.run(engine.warm_up())
    yield engine
    asyncio.run(engine.close())


def request(words: str, call: str = "A", **more: Any) -> Request:
    return Request(**{"call_block": f"call {call}", "history": (), "words": words, "max_tokens": 24, **more})


def run_requests(chat: OnnxChat, *requests: Request) -> list[tuple[str, dict[str, Any]]]:
    """Return the reply to each, one after the other, and what the engine reported of it."""

    async def one(each: Request) -> tuple[str, dict[str, Any]]:
        facts: dict[str, Any] = {}
        return "".join([p async for p in chat.reply(replace(each, set_attribute=facts.__setitem__))]), facts

    async def all_of_them() -> list[tuple[str, dict[str, Any]]]:
        return [await one(each) for each in requests]

    return asyncio.run(all_of_them())


def record_runs(chat: OnnxChat) -> list[int]:
    """Return a list that receives the number of tokens of every run of the model from now on."""
    steps: list[int] = []

    def recording(real: Callable[..., Any], ids: list[int], *rest: Any) -> Any:
        steps.append(len(ids))
        return real(ids, *rest)

    for call in chat._calls:
        call.context.compute_rows = partial(recording, call.context.compute_rows)  # type: ignore[method-assign]
    return steps


def test_the_reply_is_that_of_the_model(chat: OnnxChat) -> None:
    """Token by token the likeliest of the forward pass over the whole prompt, with nothing kept."""
    ids = chat._prompt(request("lo"), 0)
    n_prompt = len(ids)
    while len(ids) < n_prompt + TOKENS_PER_REPLY and (token := int(forward(TENSORS, ids)[-1].argmax())) not in (0, 2):
        ids.append(token)
    expected = chat._tokenizer.decode(ids[n_prompt:])
    ((text, facts),) = run_requests(chat, request("lo"))
    assert text.strip() == expected.rstrip("\ufffd").strip() != ""  # half a character at the end is not emitted
    assert facts[tracing.LLM_PROMPT_TOKENS] == n_prompt


def test_the_optional_protocols_are_implemented(chat: OnnxChat) -> None:
    """It generates on demand and reads ahead."""
    assert isinstance(chat, GeneratesOnDemand)
    assert isinstance(chat, ReadsAhead)


@pytest.mark.parametrize("words", ["lo", "hello lo.", "12 12?", "hello, lo…", "dogs'.", "he -"])
def test_the_sentences_end_is_read_in_the_replys_own_pass(chat: OnnxChat, words: str) -> None:
    """The probability is that of a reading of its own, and the reply is the same."""
    history = (Message("user", "hello"), Message("assistant", "lo lo"))
    asked = request(words, history=history)
    expected = asyncio.run(chat.end_probability(asked))
    ((plain, _),) = run_requests(chat, asked)
    read: list[float] = []
    chat._calls[0].context.ids.clear()
    chat._calls[1].context.ids.clear()
    ((text, _),) = run_requests(chat, replace(asked, set_sentence_end=read.append))
    assert read == [pytest.approx(expected, abs=1e-5)]
    assert text == plain


def test_reading_the_sentence_costs_no_pass(chat: OnnxChat) -> None:
    """As many runs of the model as without; it is known before the first of the reply's text."""
    fresh = request("hello lo.", "A"), request("hello lo.", "B")
    steps = record_runs(chat)
    run_requests(chat, fresh[0])
    without = len(steps)
    order: list[str] = []

    async def listen() -> None:
        reply = chat.reply(replace(fresh[1], set_sentence_end=lambda _: order.append("read")))
        order.extend(["said" async for _ in reply])

    asyncio.run(listen())
    assert len(steps) - without == without
    assert order[0] == "read"
    assert order.count("read") == 1
    assert "said" in order


def test_words_whose_tokens_the_mark_changes_are_read_all_the_same(
    chat: OnnxChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pass of their own: the reading is that of the words, and the reply that of the prompt."""
    asked = request("hello lo.", "A")
    words = [*chat._words_prompt(asked, 0)[:-1], TOKENS.index("12")]
    monkeypatch.setattr(chat, "_words_prompt", lambda *_: words)
    ((plain, _),) = run_requests(chat, asked)
    read: list[float] = []
    ((text, _),) = run_requests(chat, replace(asked, set_sentence_end=read.append))
    assert read == [pytest.approx(asyncio.run(chat.end_probability(asked)), abs=1e-5)]
    assert text == plain


@pytest.mark.parametrize("words", ["", " . ", "…"])
def test_no_words_are_no_sentence(chat: OnnxChat, words: str) -> None:
    """There is nothing that could end."""
    read: list[float] = []
    run_requests(chat, request(words, set_sentence_end=read.append))
    assert read == [0.0]


def run_with_draft(
    chat: OnnxChat, monkeypatch: pytest.MonkeyPatch, guess: Callable[[int], list[int]]
) -> tuple[str, list[int]]:
    """Return a reply of drafts, and the tokens of each run; `guess` takes how many tokens the reply has."""
    asked = request("hello lo", "A")
    n_prompt = len(chat._prompt(asked, 0))
    monkeypatch.setattr(engine_module, "find_draft", lambda ids, most, _: guess(len(ids) - n_prompt)[:most])
    steps = record_runs(chat)
    ((text, _),) = run_requests(chat, asked)
    return text, steps


@pytest.fixture
def plain(model: Path) -> tuple[str, list[int]]:
    """A reply of one token a pass, and its tokens."""
    engine = OnnxChat(settings(model, draft_tokens=0))
    asyncio.run(engine.warm_up())
    n_prompt = len(engine._prompt(request("hello lo", "A"), 0))
    steps = record_runs(engine)
    ((text, _),) = run_requests(engine, request("hello lo", "A"))
    tokens = next(call.context.ids[n_prompt:] for call in engine._calls if call.block == "call A")
    asyncio.run(engine.close())
    assert len(steps) == len(tokens) + 1 == TOKENS_PER_REPLY
    return text, tokens


def test_a_right_draft_saves_passes(
    chat: OnnxChat, plain: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is the same, of three passes in place of six."""
    text, tokens = plain
    drafted, steps = run_with_draft(chat, monkeypatch, lambda said: tokens[said:])
    assert (drafted, len(steps)) == (text, 3)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_wrong_draft_changes_nothing(
    chat: OnnxChat, plain: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """What follows its first wrong token is computed again; the next request of the call finds what was said."""
    text, tokens = plain
    drafted, _ = run_with_draft(chat, monkeypatch, lambda said: [*tokens[said : said + kept], 77, 77, 77])
    assert drafted == text
    monkeypatch.undo()
    assert run_requests(chat, request("hello lo", "A"))[0][0] == text


def test_alternating_calls_get_the_replies_they_get_alone(model: Path, chat: OnnxChat) -> None:
    """Three calls share two contexts: a reply does not depend on earlier requests."""
    requests = [request(words, call) for words in ("hello", "hello lo", "12") for call in "ABC"]
    alone = []
    for each in requests:
        fresh = OnnxChat(settings(model))
        alone += [text for text, _ in run_requests(fresh, each)]
        asyncio.run(fresh.close())
    assert [text for text, _ in run_requests(chat, *requests)] == alone


def test_a_call_is_served_from_its_own_history_only(chat: OnnxChat) -> None:
    """A call's first request keeps the system prompt, however similar its block is; a later one its own history."""
    first, again, other = run_requests(chat, request("hello", "AA"), request("hello lo", "AA"), request("hello", "AB"))
    system = len(chat._system)
    cached = [facts[tracing.PREFIX_CACHED_TOKENS] for _, facts in (first, again, other)]
    allowed = [facts[tracing.PREFIX_ALLOWED_TOKENS] for _, facts in (first, again, other)]
    assert (cached[0], cached[2]) == (allowed[0], allowed[2]) == (system, system)
    assert system < cached[1] <= allowed[1] == again[1][tracing.LLM_PROMPT_TOKENS]
    for _, facts in (first, again, other):
        assert all(facts[name] >= 0 for name in (tracing.LLM_QUEUE_MS, tracing.LLM_PREFILL_MS, tracing.LLM_DECODE_MS))


def test_what_was_read_ahead_is_not_computed_again(model: Path, chat: OnnxChat) -> None:
    """The prompt up to the caller's words is there when the request arrives; the reply is the same."""
    history = (Message("user", "hello"), Message("assistant", "lo lo"))
    later = request("12 12", "A", history=history)
    fresh = OnnxChat(settings(model))
    asyncio.run(fresh.warm_up())
    ((text, unprepared),) = run_requests(fresh, later)
    asyncio.run(fresh.close())
    asyncio.run(chat.read_ahead(replace(later, words="")))
    steps = record_runs(chat)
    asyncio.run(chat.read_ahead(replace(later, words="")))
    assert steps == []  # nothing was left to compute
    ((prepared_text, prepared),) = run_requests(chat, later)
    assert prepared_text == text
    assert unprepared[tracing.PREFIX_CACHED_TOKENS] == len(chat._system)
    computed = prepared[tracing.LLM_PROMPT_TOKENS] - prepared[tracing.PREFIX_CACHED_TOKENS]
    assert computed <= len(chat._encode("12 12<|im_end|>\n<|im_start|>assistant\n")) + 1


def test_nothing_is_read_ahead_while_a_reply_waits_for_its_reader(chat: OnnxChat) -> None:
    """Another caller who starts to speak does not make the model finish a reply that may be wasted."""

    async def run() -> tuple[int, int]:
        stream = chat.reply(request("hello", "A"))
        await anext(stream)
        steps = record_runs(chat)
        await asyncio.wait_for(chat.read_ahead(request("", "B")), 10)
        while_held = len(steps)
        await stream.aclose()
        await asyncio.to_thread(chat._executor.submit(lambda: None).result)
        steps.clear()
        await chat.read_ahead(request("", "B"))
        return while_held, len(steps)

    held, after = asyncio.run(run())
    assert held <= 1  # the token it was generating
    assert after == 1


def test_the_context_of_an_ended_call_is_reused_first(chat: OnnxChat) -> None:
    """A call that continues keeps its context, even if its last request was earlier."""
    run_requests(chat, request("hello", "A"), request("hello", "B"))
    chat.forget("call B")
    chat.forget("call X")  # unknown
    (_, new), (_, old) = run_requests(chat, request("hello", "C"), request("hello lo", "A"))
    assert new[tracing.PREFIX_CACHED_TOKENS] == len(chat._system) < old[tracing.PREFIX_CACHED_TOKENS]


def test_the_oldest_messages_are_left_out_where_there_is_no_room(model: Path) -> None:
    """So that the reply fits; the prompt then starts with the same message for some turns."""
    chat = OnnxChat(settings(model, positions=256))
    messages = tuple(Message(role, "hello 12") for _ in range(20) for role in ("user", "assistant"))  # type: ignore[arg-type]
    prompts = [chat._prompt(request("lo", history=messages[:n]), TOKENS_PER_REPLY) for n in (2, 36, 38)]
    assert all(len(ids) + TOKENS_PER_REPLY <= 256 for ids in prompts)
    whole = OnnxChat(settings(model, positions=512))._prompt(request("lo", history=messages[:36]), TOKENS_PER_REPLY)
    assert len(prompts[1]) < len(whole)
    assert prompts[2][: len(prompts[1]) - 30] == prompts[1][:-30]
    asyncio.run(chat.close())


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("tokenizer.json", None, r"tokenizer\.json: .+\(.+\); correct llm\.model"),
        ("tokenizer.json", b'{"version": ', r"tokenizer\.json: "),
        ("model.onnx", None, r"model\.onnx .+\(.+\); correct llm\.model"),
        ("model.onnx", b"", r"model\.onnx "),
        ("model.onnx", b"not a model", r"model\.onnx "),
        ("model.onnx", "another", r"model\.onnx .+\(another model, or an older conversion\)"),
        ("model.onnx", "older", r"model\.onnx .+\(another model, or an older conversion\)"),
    ],
)
def test_a_folder_without_a_usable_model_is_one_line(
    model: Path, tmp_path: Path, name: str, content: bytes | str | None, facts: str
) -> None:
    """With file, cause and remedy."""
    for file in ("model.onnx", "tokenizer.json"):
        (tmp_path / file).write_bytes((model / file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    elif isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        other = onnx.load(str(model / "model.onnx"))
        if content == "another":
            del other.metadata_props[:]
        else:
            rows = next(node for node in other.graph.node if "rows" in node.input)
            rows.input[list(rows.input).index("rows")] = "end"
            other.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "end"))
            del other.graph.input[[one.name for one in other.graph.input].index("rows")]
        onnx.save(other, str(tmp_path / name))
    with pytest.raises(EngineError, match=facts) as raised:
        OnnxChat(settings(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_system_prompt_that_leaves_no_room_is_an_error_at_once(model: Path) -> None:
    """Every turn would be lost."""
    with pytest.raises(EngineError, match=r"the prompt has \d+ tokens and the reply 250, .* 256 of llm\.positions"):
        OnnxChat(settings(model, max_tokens=250))


def test_a_prompt_that_does_not_fit_is_one_line(model: Path) -> None:
    """The turn is lost; the call and the engine are not."""
    chat = OnnxChat(settings(model, positions=256))
    with pytest.raises(
        EngineError, match=r"^llm: the prompt has \d+ tokens and the reply 6, .* 256 of llm\.positions; "
    ):
        run_requests(chat, request("x" * 300))
    assert run_requests(chat, request("lo"))[0][0]
    asyncio.run(chat.close())


def test_an_engine_that_fails_is_one_line(chat: OnnxChat, monkeypatch: pytest.MonkeyPatch) -> None:
    """With model and cause; the next reply is not affected."""

    def failing(*_: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 6 :\nout of memory")

    ((text, _),) = run_requests(chat, request("lo"))
    with monkeypatch.context() as broken:
        for call in chat._calls:
            broken.setattr(call.context, "compute_rows", failing)
        with pytest.raises(EngineError, match=r"^llm: \S+ failed: \[ONNXRuntimeError\] : 6 : out of memory; .+$"):
            run_requests(chat, request("lo"))
    assert run_requests(chat, request("lo"))[0][0] == text


def test_closing_a_reply_stops_the_model(model: Path) -> None:
    """After the reader leaves at the first piece, only the token at work is finished.

    (A piece may take some tokens: a character of a random model's reply is often never completed.)
    """
    chat = OnnxChat(settings(model, min_tokens=40, max_tokens=40))
    asyncio.run(chat.warm_up())
    steps = record_runs(chat)

    async def leave_at_the_first() -> None:
        stream = chat.reply(request("hello", "L", max_tokens=40))
        await anext(stream)
        await stream.aclose()
        await asyncio.to_thread(chat._executor.submit(lambda: None).result)

    asyncio.run(leave_at_the_first())
    left = len(steps)
    steps.clear()
    run_requests(chat, request("hello", "L", max_tokens=40))
    assert len(steps) == 40
    assert left < 20
    asyncio.run(chat.close())


def test_a_reply_ends_at_the_marks(chat: OnnxChat) -> None:
    """Those that the vocabulary has, by id."""
    assert chat._ends == {TOKENS.index(mark) for mark in ("<|im_end|>", "<|endoftext|>") if mark in TOKENS}


BYTES = {character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}
"""A vocabulary of one token a byte."""


@pytest.fixture(scope="module")
def bytewise() -> Tokenizer:
    tokenizer = Tokenizer(BPE(BYTES, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def emit_bytes(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return what a reply emits for the tokens of `text`."""
    pieces: list[str] = []
    reply = TokenText(tokenizer, lambda piece: pieces.append(piece) is None)
    assert all(reply.push(token) for token in tokenizer.encode(text).ids)
    return pieces


def test_a_character_is_emitted_with_its_last_byte(bytewise: Tokenizer) -> None:
    """Never in pieces; blanks before the reply are dropped, later ones kept."""
    assert emit_bytes(bytewise, "  caf\u00e9 \U0001f600\n") == ["c", "a", "f", "\u00e9", " ", "\U0001f600", "\n"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=30))
def test_any_text_is_emitted_whole(bytewise: Tokenizer, text: str) -> None:
    """Whatever the characters, and one token a byte."""
    assert "".join(emit_bytes(bytewise, text)) == text.lstrip()
