"""A chat model behind the agent's seam: a conversation in, the reply token by token out.

What a conversation has in common with the request before it is not computed again: the system prompt, which all calls
share, and of the call's own block, history and words whatever the last attempt had already. So a request costs its new
words and the tokens of the reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from turngap_agent import tracing, weights, worker
from turngap_agent.errors import EngineError
from turngap_agent.llm import Request
from turngap_agent.llm.detokenize import Detokenizer
from turngap_agent.llm.onnx import OnnxSettings
from turngap_agent.llm.onnx.choice import Choice
from turngap_agent.llm.onnx.decoder import F32, Context, Decoder, common
from turngap_agent.llm.templates import CHATML_END, TEMPLATES

_LINE_BREAK = "Ċ"
"""A line break, as a byte-level vocabulary writes it."""
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)
_FORGOTTEN = 16
"""So many messages of the history are left out at once where the positions do not suffice, so that what is left begins
alike for some turns."""


@dataclass
class _Call:
    """A conversation that the engine is in."""

    block: str
    """The call's own; "" before the first."""
    context: Context
    used: int = 0
    """The last request it was used for; the least is given to the next new call."""


class OnnxChat:
    """The model, loaded once; replies of several calls wait for each other."""

    in_step = True

    def __init__(self, settings: OnnxSettings) -> None:
        """Raises:
        WeightsError: they are not there and cannot be fetched.
        EngineError: they are none of ours, or the positions do not suffice or are too many.
        """
        folder = weights.get(settings.model)
        self._settings = settings
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        self._vocabulary = _by_id(self._tokenizer)
        self._template = TEMPLATES[settings.template]
        self._system = self._ids(self._template.shared(settings.system_prompt))
        self._ends = self._end_ids()
        self._decoder = Decoder(folder / "model.onnx", settings.threads, settings.positions)
        self._calls = [_Call("", self._decoder.context()) for _ in range(settings.conversations or 1)]
        self._requests = self._replies = 0
        self._prompt(_WARM_UP, settings.max_tokens)  # refused now, and not turn by turn
        self._executor = worker.make_thread("llm", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        return f"onnx {s.model} 8 bit, at most {s.max_tokens} tokens, {worker.threads_text(s.threads)}"

    async def warm_up(self) -> None:
        """Take the system prompt in, which stays, and run one short reply."""
        await worker.run(self._executor, self._take_in_system_prompt)
        async for _ in self.reply(_WARM_UP):
            pass

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """The reply, token by token as text. Closing the generator stops the engine within a token.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        asked = time.perf_counter()
        facts: dict[str, tracing.AttributeValue] = {}

        def generate(emit: worker.Emit[str]) -> None:
            facts.update(self._generate(request, emit, asked))

        work = worker.stream(self._executor, generate, in_step=True)
        self._replies += 1
        try:
            async with aclosing(work) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._replies -= 1
        for name, value in facts.items():
            request.note(name, value)

    async def read_ahead(self, request: Request) -> None:
        """Take in what `request` begins with, up to the caller's words.

        Not while a reply is being made: one that stands still until its caller is done would have to go on.

        Raises:
            EngineError: the engine failed.
        """
        if not self._replies:
            await worker.run(self._executor, self._take_in, request)

    def forget(self, call_block: str) -> None:
        """That call has ended: its context is the next to be given away."""
        for call in self._calls:
            if call.block == call_block:
                call.used = 0

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._calls.clear()
        del self._decoder

    def _take_in_system_prompt(self) -> None:
        first, *others = (call.context for call in self._calls)
        if self._system:
            self._logits(first, self._system, 0)
            for context in others:
                context.copy(first, len(self._system))

    def _take_in(self, request: Request) -> None:
        most = self._settings.max_tokens
        one, other = (self._prompt(replace(request, words=words), most) for words in ("a", "7"))
        ids = one[: common(one, other)]
        call, allowed = self._call(request.call_block)
        kept = min(common(call.context.ids, ids), allowed)
        if kept < len(ids):
            self._logits(call.context, ids, kept)

    def _logits(self, context: Context, ids: list[int], kept: int) -> F32:
        try:
            return context.logits(ids, kept)
        except RuntimeError as fault:
            raise EngineError(f"llm: {self._settings.model} failed: {' '.join(str(fault).split())}") from fault

    def _generate(self, request: Request, emit: worker.Emit[str], asked: float) -> dict[str, tracing.AttributeValue]:
        """Emits the reply; what there is to tell of the request."""
        most = min(request.max_tokens, self._settings.max_tokens)
        choice = Choice(self._ends, min(self._settings.min_tokens, most), self._settings.repetition_penalty)
        ids = self._prompt(request, most)
        n_prompt = len(ids)
        begun = time.perf_counter()
        call, allowed = self._call(request.call_block)
        kept = min(common(call.context.ids, ids), allowed, n_prompt - 1)
        text = _Reply(emit)
        logits = self._logits(call.context, ids, kept)
        prefill, decode = time.perf_counter() - begun, 0.0
        while (chosen := choice.next(logits)) not in self._ends and text.push(self._vocabulary[chosen]):
            ids.append(chosen)
            if len(ids) - n_prompt == most:
                break
            step = time.perf_counter()
            logits = self._logits(call.context, ids, len(ids) - 1)
            decode += time.perf_counter() - step
        text.end()
        return {
            tracing.LLM_QUEUE_MS: (begun - asked) * 1e3,
            tracing.LLM_PREFILL_MS: prefill * 1e3,
            tracing.LLM_DECODE_MS: decode * 1e3,
            tracing.LLM_PROMPT_TOKENS: n_prompt,
            tracing.PREFIX_CACHED_TOKENS: kept,
            tracing.PREFIX_ALLOWED_TOKENS: min(allowed, n_prompt),
        }

    def _call(self, block: str) -> tuple[_Call, int]:
        """The conversation of that call, and how much of what its context holds may be kept.

        Of another call's no more than what all share, however alike they are: it would flatter a measurement.
        """
        self._requests += 1
        call = next((call for call in self._calls if call.block == block), None)
        allowed = self._decoder.positions
        if call is None:
            call = min(self._calls, key=lambda call: call.used)
            call.block, allowed = block, len(self._system)
        call.used = self._requests
        return call, allowed

    def _prompt(self, request: Request, reply: int) -> list[int]:
        """The ids of the request; the oldest messages are left out where the positions do not suffice for all.

        Raises:
            EngineError: nor do they for the request without any.
        """
        for left_out in range(0, len(request.history) + _FORGOTTEN, _FORGOTTEN):
            asked = replace(request, history=request.history[left_out:])
            ids = self._system + self._ids(self._template.own(asked))
            if len(ids) + reply <= self._decoder.positions:
                return ids
        raise EngineError(
            f"llm: the prompt has {len(ids)} tokens and the reply {reply}, which are more than the "
            f"{self._decoder.positions} of llm.positions; shorten llm.system_prompt, or raise it"
        )

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _end_ids(self) -> frozenset[int]:
        """Where a reply ends: at the marks, and in a dialogue at every token that begins with a line break."""
        ends = {CHATML_END, "<|endoftext|>"}
        if self._settings.template == "dialogue":
            ends |= {token for token in self._vocabulary if token.startswith(_LINE_BREAK)}
        return frozenset(at for at, token in enumerate(self._vocabulary) if token in ends)


class _Reply:
    """A reply's text on its way to the reader."""

    def __init__(self, emit: worker.Emit[str]) -> None:
        self._emit = emit
        self._text = Detokenizer()
        self._begun = False

    def push(self, token: str) -> bool:
        """False: nobody reads any more."""
        piece = self._text.push(token)
        if not self._begun:
            piece = piece.lstrip()
        self._begun = self._begun or bool(piece)
        return not piece or self._emit(piece)

    def end(self) -> None:
        """No token follows."""
        if rest := self._text.flush():
            self._emit(rest)


def _tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as fault:  # the library raises nothing narrower
        raise EngineError(
            f"llm: {file}: no tokenizer that can be read ({' '.join(str(fault).split())[:200]}); correct llm.model, or "
            "fetch the one that ships: python -m turngap_agent weights pull"
        ) from fault


def _by_id(tokenizer: Tokenizer) -> list[str]:
    """The vocabulary's tokens, in the order of their ids."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)
