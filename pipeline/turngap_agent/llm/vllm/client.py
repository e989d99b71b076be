"""Requests to an OpenAI server over HTTP: completions that stream, the models it serves, its health and metrics.

Each request has its own connection. Closing its stream closes the connection, which is how vLLM learns that its
reader has left; and no request uses a connection that the server is about to close as idle.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

import httpx

from turngap_agent.errors import EngineError, one_line
from turngap_agent.llm.vllm import event_stream
from turngap_agent.llm.vllm.event_stream import Chunk, EventParser, parse_chunk
from turngap_agent.llm.vllm.kv_cache import CacheReading, parse_metrics

# It logs every request and every health check.
logging.getLogger("httpx").setLevel(logging.WARNING)

_CONNECT_S = 5.0
_EVENTS = "text/event-stream"


class Client:
    """One server; requests may overlap."""

    def __init__(self, base_url: str, *, local: bool, stall_limit_s: float) -> None:
        """`base_url` is the part of a URL before `/chat/completions`; a `local` server is reached without a proxy."""
        self.base_url = base_url.rstrip("/")
        self.root = self.base_url.removesuffix("/v1")
        self._stall_limit_s = stall_limit_s
        key = os.environ.get("VLLM_API_KEY")
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(stall_limit_s, connect=min(stall_limit_s, _CONNECT_S)),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=not local,
        )

    async def stream(
        self, route: str, body: Mapping[str, Any], headers: Mapping[str, str], stall_limit_s: float | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of one completion (`route` is "chat/completions" or "completions") as they arrive.

        Closing the generator closes the connection, and the server stops. `stall_limit_s` replaces the client's limit.

        Raises:
            EngineError: no connection, an HTTP error, an error or an unknown event in the stream, the stream's end
                before its last event, or no data for the stall limit.
        """
        url = f"{self.base_url}/{route}"
        limit_s = stall_limit_s or self._stall_limit_s
        timeout = httpx.Timeout(limit_s, connect=min(limit_s, _CONNECT_S))
        try:
            async with self._http.stream(
                "POST", url, json=dict(body), headers=dict(headers), timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise EngineError(describe_refusal(url, response.status_code, await response.aread()))
                if not response.headers.get("content-type", "").startswith(_EVENTS):
                    raise EngineError(
                        f"{url} does not answer with {_EVENTS}, so it is no OpenAI server; correct llm.url"
                    )
                async with aclosing(_read_chunks(response)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except httpx.TimeoutException:
            raise EngineError(
                f"{url}: no data for {limit_s:g} s; check the server's load, or raise llm.stall_limit_s"
            ) from None
        except httpx.HTTPError as error:
            raise EngineError(f"{url}: {one_line(error)}") from None

    async def models(self) -> list[str]:
        """Return the names of the models that the server serves.

        Raises:
            EngineError: nothing answers, or what answers is no OpenAI server.
        """
        url = f"{self.base_url}/models"
        try:
            response = await self._http.get(url)
        except httpx.HTTPError as error:
            raise EngineError(
                f"nothing answers at {url} ({one_line(error)}); start the server, or correct llm.url"
            ) from None
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise EngineError(f"{url} needs a key (HTTP {response.status_code}); set VLLM_API_KEY")
        try:
            response.raise_for_status()
            return [str(model["id"]) for model in response.json()["data"]]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
            raise EngineError(
                f"{url}: no OpenAI server answers (HTTP {response.status_code}, no list of models); correct llm.url, "
                "which usually ends in /v1"
            ) from None

    async def check_health(self) -> bool:
        """Return whether vLLM's health check passes."""
        try:
            return (await self._http.get(f"{self.root}/health")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def read_kv_cache(self) -> CacheReading:
        """Return the KV cache's state from vLLM's metrics; empty for a server without them."""
        try:
            return parse_metrics((await self._http.get(f"{self.root}/metrics")).text)
        except httpx.HTTPError:
            return CacheReading()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def describe_refusal(url: str, status: int, body: bytes) -> str:
    """Return one line on an HTTP error: URL, status, the server's message, and what to do about a missing key."""
    text = body.decode("utf-8", "replace")
    try:
        message = event_stream.error_message(json.loads(text))
    except ValueError:
        message = event_stream.excerpt(text, 80)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        message = f"{message}; set VLLM_API_KEY" if message else "set VLLM_API_KEY"
    return f"{url}: HTTP {status}{f', {message}' if message else ''}"


async def _read_chunks(response: httpx.Response) -> AsyncGenerator[Chunk, None]:
    parser = EventParser()
    source = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
    async with aclosing(source) as pieces:
        async for piece in pieces:
            for data in parser.push(piece):
                if data.strip() == event_stream.DONE:
                    return
                yield parse_chunk(data)
    raise EngineError("the server closed the connection in the middle of the reply")
