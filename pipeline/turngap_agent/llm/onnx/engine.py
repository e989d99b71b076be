"""A chat model behind the agent's interface: a conversation in, the reply out token by token.

What a conversation has in common with the request before it is not computed again: the system prompt, which all calls
share, and what the call's last attempt had already of its block, history and words. So a request costs its new words
and the tokens of the reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from turngap_agent import parts, tracing, weights, worker
from turngap_agent.errors import EngineError, one_line
from turngap_agent.llm import Request
from turngap_agent.llm.onnx.decoder import F32, Context, Decoder, TokenChoice, common_length
from turngap_agent.llm.onnx.drafts import find_draft
from turngap_agent.llm.onnx.reply_text import TokenText, load_tokenizer
from turngap_agent.llm.onnx.sentence_ends import STOPS, SentenceEnds
from turngap_agent.llm.onnx.settings import OnnxSettings
from turngap_agent.llm.templates import CHATML_END, TEMPLATES

_LINE_BREAK = "Ċ"
"""A line break, as a byte-level vocabulary spells it."""
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)
_DROPPED_AT_ONCE = 16
"""How many messages of the history are left out at once where there are not enough positions, so that the prompt starts
with the same message for some turns."""


@dataclass
class _Call:
    """A conversation of the engine."""

    block: str
    """The call's own block; "" before the first call."""
    context: Context
    last_request: int = 0
    """Number of the last request; a new call takes over the conversation with the least."""


class OnnxChat:
    """The model, loaded once; replies of several calls run one after the other."""

    on_demand = True
    parts = ("prompt", "prefill", "choice", "text", "decode")

    def __init__(self, settings: OnnxSettings) -> None:
        """Raises:
        WeightsError: the weights are missing and cannot be fetched.
        EngineError: the weights were not converted by turngap, or there are too few or too many positions.
        """
        folder = weights.get(settings.model)
        self._settings = settings
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._template = TEMPLATES[settings.template]
        self._system = self._encode(self._template.format_shared(settings.system_prompt))
        self._ends = self._end_ids()
        self._sentence_ends = SentenceEnds(self._tokenizer)
        self._decoder = Decoder(folder / "model.onnx", settings.threads, settings.positions)
        self._calls = [_Call("", self._decoder.new_context()) for _ in range(settings.conversations or 1)]
        self._requests = self._replies = 0
        self._prompt(_WARM_UP, settings.max_tokens)  # too long a system prompt is an error now, and not in every turn
        self._executor = worker.make_thread("llm", settings.cores)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        s = self._settings
        return f"onnx {s.model} 8 bit, at most {s.max_tokens} tokens, {worker.threads_text(s.threads)}"

    async def warm_up(self) -> None:
        """Compute the system prompt, which is kept, and generate one short reply."""
        await worker.run(self._executor, self._prefill_system_prompt)
        async for _ in self.reply(_WARM_UP):
            pass

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Yield the reply's text, token by token. Closing the generator stops the engine within a token.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        requested_s = time.perf_counter()
        facts: dict[str, tracing.AttributeValue] = {}

        def generate(emit: worker.Emit[str | float]) -> None:
            facts.update(self._generate(request, emit, requested_s))

        work = worker.stream(self._executor, generate, in_step=True)
        self._replies += 1
        try:
            async with aclosing(work) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        yield piece
                    elif request.set_sentence_end is not None:
                        request.set_sentence_end(piece)
        finally:
            self._replies -= 1
        for name, value in facts.items():
            request.set_attribute(name, value)

    async def read_ahead(self, request: Request) -> None:
        """Compute the prompt of `request` up to the caller's words.

        Nothing is done while a reply is being generated: one that waits for its reader would have to run to its end.

        Raises:
            EngineError: the engine failed.
        """
        if not self._replies:
            await worker.run(self._executor, self._read_ahead, request)

    async def end_probability(self, request: Request) -> float:
        """Return the probability, 0-1, that the caller's sentence ends with `request.words`.

        Raises:
            EngineError: the engine failed.
        """
        return await worker.run(self._executor, self._end_probability, request)

    def forget(self, call_block: str) -> None:
        """Let the next new call take over the context of that call, which has ended."""
        for call in self._calls:
            if call.block == call_block:
                call.last_request = 0

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        self._calls.clear()
        del self._decoder

    def _prefill_system_prompt(self) -> None:
        first, *others = (call.context for call in self._calls)
        if self._system:
            self._compute_logits(first, self._system, 0)
            for context in others:
                context.copy_from(first, len(self._system))

    def _read_ahead(self, request: Request) -> None:
        max_tokens = self._settings.max_tokens
        one, other = (self._prompt(replace(request, words=words), max_tokens) for words in ("a", "7"))
        ids = one[: common_length(one, other)]
        call, allowed = self._select_call(request.call_block)
        kept = min(common_length(call.context.ids, ids), allowed)
        if kept < len(ids):
            self._compute_logits(call.context, ids, kept)

    def _end_probability(self, request: Request) -> float:
        ids = self._words_prompt(request, self._settings.max_tokens)
        if not ids:
            return 0.0
        call, allowed = self._select_call(request.call_block)
        kept = min(common_length(call.context.ids, ids), allowed, len(ids) - 1)
        return self._sentence_ends.probability(self._compute_logits(call.context, ids, kept))

    def _words_prompt(self, request: Request, reply_tokens: int) -> list[int]:
        """Return the request's ids up to the last word, as `_prompt` does up to the reply; none without words."""
        words = request.words.rstrip(STOPS)
        if not words:
            return []
        return self._prompt(replace(request, words=words), reply_tokens, self._template.format_words)

    def _compute_logits(self, context: Context, ids: list[int], kept: int) -> F32:
        last: F32 = self._compute_rows(context, ids, kept, (len(ids),))[0]
        return last

    def _compute_rows(self, context: Context, ids: list[int], kept: int, lengths: Sequence[int]) -> F32:
        try:
            return context.compute_rows(ids, kept, lengths)
        except RuntimeError as error:
            raise EngineError(f"llm: {self._settings.model} failed: {one_line(error)}; this reply is lost") from error

    def _generate(
        self, request: Request, emit: worker.Emit[str | float], requested_s: float
    ) -> dict[str, tracing.AttributeValue]:
        """Emit the sentence's end, if it is wanted, and the reply; return what was measured of the request."""
        max_tokens = min(request.max_tokens, self._settings.max_tokens)
        choice = TokenChoice(self._ends, min(self._settings.min_tokens, max_tokens), self._settings.repetition_penalty)
        with parts.part("prompt"):
            ids = self._prompt(request, max_tokens)
        n_prompt = len(ids)
        start_s = time.perf_counter()
        call, allowed = self._select_call(request.call_block)
        kept = min(common_length(call.context.ids, ids), allowed, n_prompt - 1)
        text = TokenText(self._tokenizer, emit)
        with parts.part("prefill"):
            if request.set_sentence_end is None:
                logits = self._compute_logits(call.context, ids, kept)
            else:
                logits = self._read_and_compute(call.context, request, ids, kept, emit)
        prefill_s, decode_s = time.perf_counter() - start_s, 0.0
        rows, draft = [logits], list[int]()
        while (token := self._choose(choice, rows[0])) not in self._ends and text.push(token):
            ids.append(token)
            left = n_prompt + max_tokens - len(ids)
            if not left:
                break
            if draft[:1] == [token]:  # the pass before has the logits after it already
                del rows[0], draft[0]
                continue
            step_s = time.perf_counter()
            with parts.part("decode"):
                draft = find_draft(ids, min(self._settings.draft_tokens, left - 1), self._ends)
                lengths = range(len(ids), len(ids) + len(draft) + 1)
                rows = list(self._compute_rows(call.context, ids + draft, len(ids) - 1, lengths))
            decode_s += time.perf_counter() - step_s
        return {
            tracing.LLM_QUEUE_MS: (start_s - requested_s) * 1e3,
            tracing.LLM_PREFILL_MS: prefill_s * 1e3,
            tracing.LLM_DECODE_MS: decode_s * 1e3,
            tracing.LLM_PROMPT_TOKENS: n_prompt,
            tracing.PREFIX_CACHED_TOKENS: kept,
            tracing.PREFIX_ALLOWED_TOKENS: min(allowed, n_prompt),
        }

    def _choose(self, choice: TokenChoice, logits: F32) -> int:
        with parts.part("choice"):
            return choice.choose(logits)

    def _read_and_compute(
        self, context: Context, request: Request, ids: list[int], kept: int, emit: worker.Emit[str | float]
    ) -> F32:
        """Compute the prompt `ids`; emit the sentence's end, and return the logits after them: two rows of one pass.

        The words are nearly always where the prompt has them. Where the mark after them changes their tokens, they are
        read in a pass of their own.
        """
        words = self._words_prompt(request, self._settings.max_tokens)
        if not words:
            emit(0.0)
            return self._compute_logits(context, ids, kept)
        if ids[: len(words)] != words:
            emit(self._sentence_ends.probability(self._compute_logits(context, words, min(kept, len(words) - 1))))
            return self._compute_logits(context, ids, common_length(context.ids, ids))
        kept = min(kept, len(words) - 1)
        rows = self._compute_rows(context, ids, kept, (len(words), len(ids)))
        emit(self._sentence_ends.probability(rows[0]))
        last: F32 = rows[1]
        return last

    def _select_call(self, block: str) -> tuple[_Call, int]:
        """Return that call's conversation, and how many tokens of its context the request may keep.

        A new call may keep no more of another's context than the system prompt, however similar the two are: more would
        flatter a measurement.
        """
        self._requests += 1
        call = next((call for call in self._calls if call.block == block), None)
        allowed = self._decoder.positions
        if call is None:
            call = min(self._calls, key=lambda call: call.last_request)
            call.block, allowed = block, len(self._system)
        call.last_request = self._requests
        return call, allowed

    def _prompt(self, request: Request, reply_tokens: int, form: Callable[[Request], str] | None = None) -> list[int]:
        """Return the request's ids, without the oldest messages if there are not enough positions.

        `form` writes the request as text; by default up to the reply.

        Raises:
            EngineError: there are not enough positions even without the history.
        """
        for dropped in range(0, len(request.history) + _DROPPED_AT_ONCE, _DROPPED_AT_ONCE):
            shortened = replace(request, history=request.history[dropped:])
            ids = self._system + self._encode((form or self._template.format_request)(shortened))
            if len(ids) + reply_tokens <= self._decoder.positions:
                return ids
        raise EngineError(
            f"llm: the prompt has {len(ids)} tokens and the reply {reply_tokens}, which are more than the "
            f"{self._decoder.positions} of llm.positions; shorten llm.system_prompt, or raise llm.positions"
        )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _end_ids(self) -> frozenset[int]:
        """Return the ids that end a reply: the marks, and in a dialogue every token that starts with a line break."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        ends = {CHATML_END, "<|endoftext|>"}
        if self._settings.template == "dialogue":
            ends |= {token for token in vocabulary if token.startswith(_LINE_BREAK)}
        return frozenset(vocabulary[token] for token in ends if token in vocabulary)
