"""A Llama-shaped model (SmolLM2) on CTranslate2, streamed, with the system prompt's state kept between calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import ctranslate2
from tokenizers import Tokenizer

from pipeline import weights, worker
from pipeline.errors import EngineError
from pipeline.llm import Request
from pipeline.llm.detokenize import Detokenizer
from pipeline.llm.templates import CHATML_END, TEMPLATES
from pipeline.profile.llm import CTranslate2Settings

_LINE_BREAK = "Ċ"
"""A line break, as a byte-level vocabulary writes it."""
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)


class CTranslate2Chat:
    """The model, loaded once; replies of several calls wait for each other."""

    in_step = True

    def __init__(self, settings: CTranslate2Settings) -> None:
        folder = weights.get(settings.model)
        self._settings = settings
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._generator: Any = ctranslate2.Generator(
            str(folder),
            device="cpu",
            compute_type=settings.compute_type,
            intra_threads=settings.threads,
            inter_threads=1,
        )
        self._template = TEMPLATES[settings.template]
        self._static = self._tokens(self._template.shared(settings.system_prompt))
        self._ends = self._end_tokens()
        self._executor = worker.thread("llm", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        return (
            f"ctranslate2 {s.model} {s.compute_type}, at most {s.max_tokens} tokens, {worker.threads_text(s.threads)}"
        )

    async def warm_up(self) -> None:
        """Fill the cache of the system prompt and run one short reply."""
        async for _ in self.reply(_WARM_UP):
            pass

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """The reply, token by token as text. Closing the generator stops the engine within a token.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        return worker.streamed(self._executor, lambda emit: self._generate(request, emit), in_step=True)

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        # A generator that has had a callback and lives until the interpreter exits aborts the process.
        self._generator = None

    def _generate(self, request: Request, emit: worker.Emit[str]) -> None:
        text = Detokenizer()
        begun = False

        def on_token(step: Any) -> bool:
            """True stops the generation."""
            nonlocal begun
            piece = "" if step.token in self._ends else text.push(step.token)
            if not begun:
                piece = piece.lstrip()
            begun = begun or bool(piece)
            return bool(piece) and not emit(piece)

        try:
            self._generator.generate_batch(
                [self._tokens(self._template.own(request))],
                min_length=min(self._settings.min_tokens, request.max_tokens),
                max_length=min(request.max_tokens, self._settings.max_tokens),
                static_prompt=self._static,
                cache_static_prompt=True,
                include_prompt_in_result=False,
                sampling_topk=1,
                repetition_penalty=self._settings.repetition_penalty,
                end_token=self._ends,
                callback=on_token,
            )
        except RuntimeError as fault:
            raise EngineError(f"llm: {self._settings.model} failed: {' '.join(str(fault).split())}") from fault
        if rest := text.flush():
            emit(rest)

    def _tokens(self, text: str) -> list[str]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def _end_tokens(self) -> list[str]:
        """Where a reply ends: at the marks, and in a dialogue at every token that begins with a line break."""
        ends = [CHATML_END, "<|endoftext|>"]
        if self._settings.template == "dialogue":
            ends += [token for token in self._tokenizer.get_vocab() if token.startswith(_LINE_BREAK)]
        return ends
