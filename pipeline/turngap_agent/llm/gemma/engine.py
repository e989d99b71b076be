"""Gemma behind the agent's seam: a conversation in, the script's words out, one for each token that was really decoded.

The system prompt's keys and values are computed once and kept; each request takes in its call's own block, history and
words after them; the agent's own turns are there as the ids that were generated. Requests of several calls wait for
each other: one thread uses the device.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

import torch

from turngap_agent import worker
from turngap_agent.device import place
from turngap_agent.device.graphs import Execution, Mode
from turngap_agent.device.tokens import StandInTokenizer
from turngap_agent.errors import EngineError
from turngap_agent.llm import Request, script
from turngap_agent.llm.gemma import architectures
from turngap_agent.llm.gemma.decoding import Decoding, places
from turngap_agent.llm.gemma.network import Gemma
from turngap_agent.llm.generated import Generated

if TYPE_CHECKING:
    from turngap_agent.llm.gemma import GemmaSettings

MARKS = 4
"""Tokens of Gemma's chat template around each message."""
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)


class GemmaChat:
    """The network, loaded once."""

    in_step = True

    def __init__(self, settings: GemmaSettings) -> None:
        """Builds the weights and prepares the units (captures, on a GPU).

        Raises:
            EngineError: no such device, too little memory, or the mode does not work here.
        """
        self._settings = settings
        self._device = place.device(settings.device, "gemma", "llm")
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        config = architectures.ARCHITECTURES[settings.architecture]()
        total = places(settings.positions)
        _require_memory(architectures.needed_bytes(config, dtype, total), self._device)
        self._tokenizer = StandInTokenizer(config.vocab_size)
        mode = {"auto": Mode.GRAPHS if self._device.type == "cuda" else Mode.EAGER}.get(settings.mode)
        self._execution = Execution(self._device, mode or Mode(settings.mode), priority=settings.stream_priority)
        self._decoding = self._prepared(config, dtype, total)
        self._system = self._tokenizer.encode(settings.system_prompt)
        self._kept = 0
        self._generated = Generated()
        self._executor = worker.make_thread("llm", settings.cores)

    def describe(self) -> str:
        """One line for the ready message and the report."""
        s = self._settings
        return (
            f"gemma {s.architecture}, random weights, {self._execution.mode} on {self._device}, "
            f"{str(self._decoding.dtype).removeprefix('torch.')}, scripted words"
        )

    async def warm_up(self) -> None:
        """Take the system prompt in, which stays, and run one short reply."""

        def keep() -> None:
            with self._execution.active():
                self._kept = self._decoding.take_in(self._system, 0) if self._system else 0

        await worker.run(self._executor, keep)
        async for _ in self.reply(_WARM_UP):
            pass

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """The script, a piece for each token decoded. Closing the generator stops the work within a token.

        Raises:
            EngineError: the device failed; the turn is lost, the call is not.
        """
        return worker.stream(self._executor, lambda emit: self._generate(request, emit), in_step=True)

    async def close(self) -> None:
        """Free thread and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        del self._decoding

    def _generate(self, request: Request, emit: worker.Emit[str]) -> None:
        pieces = script.pieces(self._settings.reply, request.reply_tokens)
        if request.reply_tokens is None:
            pieces = pieces[: min(request.max_tokens, self._settings.max_tokens)]
        given = 0
        try:
            with self._execution.active():
                position = self._decoding.take_in(self._prompt(request, len(pieces)), self._kept)
                for given, _ in enumerate(self._decoding.tokens(position, len(pieces)), 1):
                    if not emit(pieces[given - 1]):
                        break
                self._generated.keep(request, self._decoding.generated(given))
        except (RuntimeError, ValueError) as fault:
            raise EngineError(f"gemma: {' '.join(str(fault).split())}; this reply is lost") from fault

    def _prompt(self, request: Request, reply: int) -> list[int]:
        """The ids after the system prompt; the oldest messages are left out where the positions do not suffice."""
        block = self._tokenizer.encode(request.call_block)
        words = self._message(self._tokenizer.encode(request.words))
        room = self._decoding.positions - self._kept - reply - len(block) - len(words)
        history: list[int] = []
        for index, message in reversed(list(enumerate(request.history))):
            own = self._tokenizer.encode(message.text)
            said = self._message(own if message.role == "user" else self._generated.reply(request, index, own))
            if len(said) > room - len(history):
                break
            history = said + history
        return block + history + words

    def _message(self, ids: Sequence[int]) -> list[int]:
        return [0] * MARKS + list(ids)

    def _prepared(self, config: object, dtype: torch.dtype, total: int) -> Decoding:
        try:
            network = architectures.build(config, self._device, dtype)
            gemma = Gemma(network, total)
            with self._execution.active():
                return Decoding(gemma, self._execution, self._settings.positions)
        except torch.OutOfMemoryError as fault:
            raise EngineError(
                f"gemma: {self._device} ran out of memory ({_line(fault)}); stop what else uses it, or lower "
                "llm.positions"
            ) from None
        except RuntimeError as fault:
            raise EngineError(
                f"gemma: mode {self._execution.mode} does not work here ({_line(fault)}); set llm.mode: eager"
            ) from fault


def _require_memory(needed: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    if free < needed:
        raise EngineError(
            f"gemma: weights, keys and values need {needed / 2**30:.1f} GiB on {device}, {free / 2**30:.1f} of "
            f"{total / 2**30:.1f} GiB are free; stop what else uses it, or take a larger card"
        )


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())
