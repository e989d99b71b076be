"""A Llama-shaped chat model (SmolLM2) on CTranslate2, streamed, with the system prompt's state kept between calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ctranslate2
from tokenizers import Tokenizer

from pipeline import weights, worker
from pipeline.errors import EngineError
from pipeline.llm import Request
from pipeline.llm.detokenize import Detokenizer
from pipeline.profile import CTranslate2Settings

_TURN, _END = "<|im_start|>", "<|im_end|>"
_REPETITION_PENALTY = 1.1
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)


class CTranslate2Chat:
    """The model, loaded once; replies of several calls wait for each other."""

    def __init__(self, settings: CTranslate2Settings) -> None:
        folder = weights.get(settings.model)
        self._settings = settings
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._generator: Any = ctranslate2.Generator(
            str(folder),
            device=settings.device,
            compute_type=settings.compute_type,
            intra_threads=settings.threads,
            inter_threads=1,
        )
        self._static = self._tokens(f"{_TURN}system\n{_plain(settings.system_prompt)}")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="llm")

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        return f"ctranslate2 {s.model} {s.compute_type}, at most {s.max_tokens} tokens, {s.threads} thread(s)"

    async def warm_up(self) -> None:
        """Fill the cache of the system prompt and run one short reply."""
        async for _ in self.reply(_WARM_UP):
            pass

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """The reply, token by token as text. Closing the generator stops the engine within a token.

        Raises:
            EngineError: the engine failed; the turn is lost, the call is not.
        """
        return worker.streamed(self._executor, lambda emit: self._generate(request, emit))

    async def close(self) -> None:
        """Free threads and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        # A generator that has had a callback and lives until the interpreter exits aborts the process.
        self._generator = None

    def _generate(self, request: Request, emit: worker.Emit[str]) -> None:
        text = Detokenizer()

        def on_token(step: Any) -> bool:
            """True stops the generation."""
            piece = "" if step.token == _END else text.push(step.token)
            return bool(piece) and not emit(piece)

        try:
            self._generator.generate_batch(
                [self._prompt(request)],
                max_length=min(request.max_tokens, self._settings.max_tokens),
                static_prompt=self._static,
                cache_static_prompt=True,
                include_prompt_in_result=False,
                sampling_topk=1,
                repetition_penalty=_REPETITION_PENALTY,
                end_token=_END,
                callback=on_token,
            )
        except RuntimeError as fault:
            raise EngineError(f"llm: {self._settings.model} failed: {' '.join(str(fault).split())}") from fault
        if rest := text.flush():
            emit(rest)

    def _prompt(self, request: Request) -> list[str]:
        """The chat template's tokens after the system prompt, which is given apart."""
        turns = [*request.history]
        lines = [f"\n{_plain(request.call_block)}{_END}\n" if request.call_block else f"{_END}\n"]
        lines += [f"{_TURN}{message.role}\n{_plain(message.text)}{_END}\n" for message in turns]
        lines.append(f"{_TURN}user\n{_plain(request.words)}{_END}\n{_TURN}assistant\n")
        return self._tokens("".join(lines))

    def _tokens(self, text: str) -> list[str]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)


def _plain(text: str) -> str:
    """Text that cannot pass for the template's own marks."""
    return text.replace("<|", "< |").strip()
