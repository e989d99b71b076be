"""Gemma behind the agent's interface: a conversation in, the script's text out, one piece for each token decoded.

The system prompt's keys and values are computed once and kept; for each request the call's block, history and words
are computed after them. The agent's own messages are in the history as the ids that were generated. Requests of several
calls run one after the other, on one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

import torch

from turngap_agent import parts, worker
from turngap_agent.device.execution import CaptureError, Execution, Mode, select_device
from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
from turngap_agent.errors import EngineError, one_line
from turngap_agent.llm import Request
from turngap_agent.llm.gemma import architectures
from turngap_agent.llm.gemma.decoding import Decoding, cache_places
from turngap_agent.llm.gemma.network import Gemma
from turngap_agent.llm.stand_in import GeneratedIds, split_script

if TYPE_CHECKING:
    from turngap_agent.llm.gemma.settings import GemmaSettings

TEMPLATE_TOKENS = 4
"""Tokens of Gemma's chat template around each message."""
_WARM_UP = Request(call_block="Call warm-up, nobody listens.", history=(), words="Hello?", max_tokens=4)


class GemmaChat:
    """The network, loaded once."""

    on_demand = True
    parts = ("prompt", "prefill", "decode")

    def __init__(self, settings: GemmaSettings) -> None:
        """Make the weights and prepare the units (captures, on a GPU).

        Raises:
            EngineError: no such device, too little memory, or the mode does not work here.
        """
        self._settings = settings
        self._device = select_device(settings.device, "gemma", "llm")
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        config = architectures.ARCHITECTURES[settings.architecture]()
        places = cache_places(settings.positions)
        int4 = settings.layer_weights == "int4"
        _require_memory(architectures.needed_bytes(config, dtype, places, int4=int4), self._device)
        self._tokenizer = StandInTokenizer(config.vocab_size)
        mode = {"auto": Mode.GRAPHS if self._device.type == "cuda" else Mode.EAGER}.get(settings.mode)
        self._execution = Execution(self._device, mode or Mode(settings.mode), priority=settings.stream_priority)
        self._decoding = self._prepare_decoding(config, dtype, places)
        self._system = self._tokenizer.encode(settings.system_prompt)
        self._kept = 0
        self._generated = GeneratedIds()
        self._executor = worker.make_thread("llm", settings.cores)

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        s, dtype = self._settings, str(self._decoding.dtype).removeprefix("torch.")
        int4 = ", layers in int4" if s.layer_weights == "int4" else ""
        return (
            f"gemma {s.architecture}, random weights, {self._execution.mode} on {self._device}, "
            f"{dtype}{int4}, scripted words"
        )

    async def warm_up(self) -> None:
        """Compute the system prompt, which is kept, and generate one short reply."""

        def prefill_system_prompt() -> None:
            with self._execution.activate():
                self._kept = self._decoding.prefill(self._system, 0) if self._system else 0

        await worker.run(self._executor, prefill_system_prompt)
        async for _ in self.reply(_WARM_UP):
            pass

    def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Yield the script, a piece for each token decoded. Closing the generator stops the work within a token.

        Raises:
            EngineError: the device failed; the turn is lost, the call is not.
        """
        return worker.stream(self._executor, lambda emit: self._generate(request, emit), in_step=True)

    async def close(self) -> None:
        """Free thread and memory."""
        await asyncio.to_thread(self._executor.shutdown)
        del self._decoding

    def _generate(self, request: Request, emit: worker.Emit[str]) -> None:
        pieces = split_script(self._settings.reply, request.reply_tokens)
        if request.reply_tokens is None:
            pieces = pieces[: min(request.max_tokens, self._settings.max_tokens)]
        count = 0
        try:
            with self._execution.activate():
                with parts.part("prompt"):
                    ids = self._prompt(request, len(pieces))
                with parts.part("prefill"):
                    position = self._decoding.prefill(ids, self._kept)
                with parts.part("decode"):
                    for count, _ in enumerate(self._decoding.tokens(position, len(pieces)), 1):
                        if not emit(pieces[count - 1]):
                            break
                self._generated.store(request, self._decoding.generated(count))
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"gemma: {one_line(error)}; this reply is lost") from error

    def _prompt(self, request: Request, reply_tokens: int) -> list[int]:
        """Return the ids after the system prompt, without the oldest messages if there are not enough positions."""
        block = self._tokenizer.encode(request.call_block)
        words = self._add_template(self._tokenizer.encode(request.words))
        room = self._decoding.positions - self._kept - reply_tokens - len(block) - len(words)
        history: list[int] = []
        for index, message in reversed(list(enumerate(request.history))):
            ids: Sequence[int] = self._tokenizer.encode(message.text)
            if message.role == "assistant":
                ids = self._generated.of_reply(request, index, ids)
            marked = self._add_template(ids)
            if len(marked) > room - len(history):
                break
            history = marked + history
        return block + history + words

    def _add_template(self, ids: Sequence[int]) -> list[int]:
        return [0] * TEMPLATE_TOKENS + list(ids)

    def _prepare_decoding(self, config: object, dtype: torch.dtype, places: int) -> Decoding:
        try:
            if self._settings.layer_weights == "int4":
                network, fill_layer = architectures.build_in_layers(config, self._device, dtype)
                gemma = Gemma(network, places, int4=True, fill_layer=fill_layer)
            else:
                gemma = Gemma(architectures.build(config, self._device, dtype), places)
            with self._execution.activate():
                return Decoding(gemma, self._execution, self._settings.positions)
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"gemma: {self._device} ran out of memory ({one_line(error)}); stop other programs that use it, or "
                "lower llm.positions"
            ) from None
        except (CaptureError, RuntimeError) as error:
            raise EngineError(
                f"gemma: mode {self._execution.mode} does not work here ({one_line(error)}); set llm.mode: eager"
            ) from error


def _require_memory(needed_bytes: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    if free_bytes < needed_bytes:
        raise EngineError(
            f"gemma: weights, keys and values need {needed_bytes / 2**30:.1f} GiB on {device}, of whose "
            f"{total_bytes / 2**30:.1f} GiB {free_bytes / 2**30:.1f} GiB are free; stop other programs that use it, or "
            "use a larger card"
        )
