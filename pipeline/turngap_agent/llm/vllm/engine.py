"""A language model on vLLM: requests to its OpenAI server, which is started and supervised here or runs elsewhere."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import string
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from turngap_agent import meter, tracing, weights
from turngap_agent.errors import EngineError
from turngap_agent.llm import KvCache, Request
from turngap_agent.llm.stand_in import split_script, split_words
from turngap_agent.llm.vllm import command_line, prompt
from turngap_agent.llm.vllm.client import Client
from turngap_agent.llm.vllm.event_stream import Usage
from turngap_agent.llm.vllm.kv_cache import CachePeak, CacheReading
from turngap_agent.llm.vllm.prefix import PrefixTracker
from turngap_agent.llm.vllm.server import VllmServer, find_free_port
from turngap_agent.llm.vllm.settings import VllmSettings
from turngap_agent.llm.vllm.supervision import State
from turngap_agent.weights import pins

_WARM_UP_TOKENS = 4
_WARM_UP_REPLIES = 3
"""The first fills the cache with the system prompt, the second finds it there, the third runs as all later ones do."""
DATA_PARALLEL_RANK = "X-data-parallel-rank"
"""vLLM's header for the copy of the model that is to answer."""
_CACHE_READ_AT_TOKEN = 10
"""At this token of each reply the KV cache is read: the first clause is out, so that the reading does not delay first
audio in the same call, and most of the prompt and reply are in the cache."""


class VllmChat:
    """One server; replies of several calls overlap."""

    def __init__(self, settings: VllmSettings) -> None:
        """Check the settings; nothing is started yet.

        Raises:
            EngineError: vLLM is not installed, the model's folder is missing, or the port is taken.
            WeightsError: the pinned model is missing and cannot be fetched.
        """
        self._settings = settings
        self._model_name = settings.model
        self._prefix = PrefixTracker()
        self._ids = prompt.PromptIds()
        self._peak = CachePeak()
        self._cache_read: asyncio.Task[CacheReading] | None = None
        self._script = split_words(settings.script)
        self._server: VllmServer | None = None
        if settings.url is not None:
            self._client = Client(settings.url, local=False, stall_limit_s=settings.stall_limit_s)
            return
        if shutil.which(settings.command[0]) is None:
            raise EngineError(
                f"llm: {settings.command[0]} is not installed; run `pip install 'turngap[gpu]'`, or set "
                "llm.command to that of another environment, or llm.url to a running server"
            )
        if settings.load_format != "dummy" and settings.model in pins.shipped():
            settings = settings.model_copy(update={"model": str(weights.get(settings.model))})
            self._settings = settings
        if settings.model.startswith(("/", "./", "../")) and not Path(settings.model).is_dir():
            raise EngineError(f"llm: the folder {settings.model} does not exist; correct llm.model")
        port = settings.port or find_free_port(command_line.HOST)
        _check_port(port)
        base_url = f"http://{command_line.HOST}:{port}/v1"
        self._client = Client(base_url, local=True, stall_limit_s=settings.stall_limit_s)
        self._server = VllmServer(
            command_line.build_arguments(settings, port),
            command_line.build_environment(settings, os.environ),
            self._client.check_health,
            self._warm_up_server,
            settings.start_limit_s,
            settings.restart,
        )

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        s = self._settings
        place = f"at {s.url}" if s.url else "supervised"
        revision = f"@{s.pinned_revision[:8]}" if s.pinned_revision and not s.url else ""
        weights = ", random weights" if s.load_format == "dummy" and not s.url else ""
        return f"vllm {self._model_name}{revision}{weights}, {place}, at most {s.max_tokens} tokens"

    def kv_cache(self) -> KvCache | None:
        """Return what the server reserves for keys and values, and the most that replies held in all readings."""
        return self._peak.kv_cache()

    @property
    def metrics_url(self) -> str:
        """URL of the server's metrics."""
        return f"{self._client.root}/metrics"

    @property
    def server(self) -> VllmServer | None:
        """The supervised server; None if it runs elsewhere."""
        return self._server

    def process_ids(self) -> tuple[int, ...]:
        """Return the number of the supervised server's process; none while there is none."""
        pid = self._server.pid if self._server is not None else None
        return (pid,) if pid is not None else ()

    async def warm_up(self) -> None:
        """Start the server and wait for it; fill the prefix cache with the system prompt; generate some short replies.

        Raises:
            EngineError: it does not start or is not ready in time, nothing answers at the URL, what answers is no
                OpenAI server, or it does not serve the model.
        """
        if self._server is not None:
            await self._server.start()
            return
        try:
            await self._warm_up_server()
        except EngineError as error:
            raise EngineError(f"llm: {error}") from None

    async def reply(self, request: Request) -> AsyncGenerator[str, None]:
        """Yield the reply's text, token by token. Closing the generator aborts the request at the server.

        Raises:
            EngineError: the server is down, dies, refuses or stalls; the turn is lost, the call is not.
        """
        if self._server is not None and self._server.state is not State.READY:
            raise EngineError(f"llm: {self._server.down_reason()}")
        try:
            # The server works for the attempt until its connection is closed; time in its queue counts too.
            with meter.current().busy():
                async with aclosing(self._pieces(request)) as pieces:
                    async for piece in pieces:
                        yield piece
        except EngineError as error:
            raise EngineError(f"llm: {error}") from None

    async def close(self) -> None:
        """End the supervised server and all connections."""
        if self._cache_read is not None:
            self._cache_read.cancel()
            await asyncio.gather(self._cache_read, return_exceptions=True)
        if self._server is not None:
            await self._server.close()
        await self._client.close()

    async def _pieces(self, request: Request, stall_limit_s: float | None = None) -> AsyncGenerator[str, None]:
        if self._settings.prompt == "token_ids":
            ids = self._ids.build(self._settings.system_prompt, request)
            route, body = "completions", prompt.build_body(self._settings, request, {"prompt": ids})
        else:
            messages = prompt.build_messages(self._settings.system_prompt, request)
            route, body = "chat/completions", prompt.build_body(self._settings, request, {"messages": messages})
        handle = self._prefix.start_request(request, body["max_tokens"])
        tokens = request.reply_tokens
        script = iter(self._script if tokens is None else split_script(self._settings.script, tokens))
        generated: list[int] = []
        started = False
        n_tokens = 0
        async with aclosing(self._client.stream(route, body, self._make_headers(request), stall_limit_s)) as chunks:
            async for chunk in chunks:
                generated += chunk.token_ids
                n_tokens += bool(chunk.text or chunk.token_ids)
                if n_tokens == _CACHE_READ_AT_TOKEN and chunk.usage is None:
                    self._start_cache_read()
                text = chunk.text
                if self._script:
                    text = "".join(word for _, word in zip(chunk.token_ids, script, strict=False))
                if not started:
                    text = text.lstrip()
                if text:
                    started = True
                    yield text
                if chunk.usage is not None:
                    self._report(request, chunk.usage, self._prefix.end_request(handle, chunk.usage))
        self._ids.store(request, generated)

    def _make_headers(self, request: Request) -> dict[str, str]:
        """Return the request's headers, with the copy of the model that the call keeps to where there are several."""
        copies = self._settings.data_parallel
        rank = zlib.crc32(request.call_block.encode()) % copies
        return {**request.headers, DATA_PARALLEL_RANK: str(rank)} if copies > 1 else request.headers

    def _report(self, request: Request, usage: Usage, allowed_tokens: int | None) -> None:
        facts = {
            tracing.LLM_QUEUE_MS: usage.queue_ms,
            tracing.LLM_PREFILL_MS: usage.prefill_ms,
            tracing.LLM_DECODE_MS: usage.decode_ms,
            tracing.LLM_PROMPT_TOKENS: usage.prompt_tokens,
            tracing.PREFIX_CACHED_TOKENS: usage.cached_tokens,
            tracing.PREFIX_ALLOWED_TOKENS: allowed_tokens if usage.cached_tokens is not None else None,
        }
        for name, value in facts.items():
            if value is not None:
                request.set_attribute(name, value)

    def _start_cache_read(self) -> None:
        """Start reading the KV cache, unless a reading is running; nothing waits for it."""
        if self._cache_read is None or self._cache_read.done():
            self._cache_read = asyncio.create_task(self._read_cache())

    async def _read_cache(self) -> CacheReading:
        reading = await self._client.read_kv_cache()
        self._peak.add(reading, self._server.kv_cache_mib if self._server is not None else None)
        return reading

    async def _warm_up_server(self) -> None:
        """Check that the server serves the model, and warm it up; also after each restart."""
        served = await self._client.models()
        if self._settings.model not in served:
            names = ", ".join(served) or "no model"
            raise EngineError(f"{self._client.base_url} serves {names}, not {self._settings.model}; correct llm.model")
        shared: int | None = None

        def set_attribute(name: str, value: tracing.AttributeValue) -> None:
            nonlocal shared
            if name == tracing.PREFIX_CACHED_TOKENS and isinstance(value, int):
                shared = value

        letters = secrets.SystemRandom().sample(string.ascii_uppercase, _WARM_UP_REPLIES)
        for letter in letters:
            # Each starts with another letter, so that they share the system prompt and nothing else.
            block = (
                f"{letter} {' '.join(secrets.choice(string.ascii_uppercase) for _ in range(15))} warms the model up."
            )
            request = Request(block, (), "Hello?", _WARM_UP_TOKENS, waiting=False, set_attribute=set_attribute)
            async with aclosing(self._pieces(request, self._settings.start_limit_s)) as pieces:
                async for _ in pieces:
                    pass
        self._prefix.learn(shared, (await self._read_cache()).block_tokens)


def _check_port(port: int) -> None:
    try:
        socket.create_server((command_line.HOST, port)).close()
    except OSError as error:
        reason = error.strerror or error
        raise EngineError(f"llm: port {port} cannot be used for vLLM ({reason}); set llm.port to another") from None
