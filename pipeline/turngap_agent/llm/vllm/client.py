"""Requests to an OpenAI server over HTTP: completions that stream, the models it serves, its health and metrics.

A request has a connection of its own, so that closing its stream closes the connection, which is how vLLM learns that
nobody reads any more, and so that no request meets one that the server is about to give up as idle.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

import httpx

from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm import chunks
from turngap_agent.llm.vllm.chunks import Chunk
from turngap_agent.llm.vllm.kv_cache import Reading, read
from turngap_agent.llm.vllm.sse import EventParser

# It tells of every request, and of every health check, as of a thing worth knowing.
logging.getLogger("httpx").setLevel(logging.WARNING)

_CONNECT_S = 5.0
_EVENTS = "text/event-stream"


class Client:
    """One server; requests may overlap."""

    def __init__(self, base_url: str, *, local: bool, stall_limit_s: float) -> None:
        """`base_url` is what `/chat/completions` is appended to; a `local` server is reached without any proxy."""
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
        """The chunks of one completion (`route` is "chat/completions" or "completions") as they come.

        Closing the generator closes the connection, and the server stops. `stall_limit_s` stands in for the client's.

        Raises:
            EngineError: no connection, a refusal, an error or nonsense in the stream, its end before the last event,
                or no news for the stall limit.
        """
        url = f"{self.base_url}/{route}"
        limit_s = stall_limit_s or self._stall_limit_s
        timeout = httpx.Timeout(limit_s, connect=min(limit_s, _CONNECT_S))
        try:
            async with self._http.stream(
                "POST", url, json=dict(body), headers=dict(headers), timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise EngineError(refusal(url, response.status_code, await response.aread()))
                if not response.headers.get("content-type", "").startswith(_EVENTS):
                    raise EngineError(f"{url} does not answer with {_EVENTS}: it is no OpenAI server")
                async with aclosing(_chunks(response)) as found:
                    async for chunk in found:
                        yield chunk
        except httpx.TimeoutException:
            raise EngineError(
                f"{url}: no news for {limit_s:g} s; look at the server's load, or raise llm.stall_limit_s"
            ) from None
        except httpx.HTTPError as fault:
            raise EngineError(f"{url}: {_why(fault)}") from None

    async def models(self) -> list[str]:
        """The names of the models it serves.

        Raises:
            EngineError: nothing answers, or it is no OpenAI server.
        """
        url = f"{self.base_url}/models"
        try:
            response = await self._http.get(url)
        except httpx.HTTPError as fault:
            raise EngineError(
                f"nothing answers at {url} ({_why(fault)}); start the server, or correct llm.url"
            ) from None
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise EngineError(f"{url} wants a key (HTTP {response.status_code}); set VLLM_API_KEY")
        try:
            response.raise_for_status()
            return [str(model["id"]) for model in response.json()["data"]]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
            raise EngineError(
                f"{url} is no OpenAI server's (HTTP {response.status_code}, no list of models); correct llm.url, which "
                "ends in /v1 as a rule"
            ) from None

    async def healthy(self) -> bool:
        """Whether vLLM's own health check passes."""
        try:
            return (await self._http.get(f"{self.root}/health")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def kv_cache(self) -> Reading:
        """The KV cache now, from vLLM's metrics; a server without them tells nothing."""
        try:
            return read((await self._http.get(f"{self.root}/metrics")).text)
        except httpx.HTTPError:
            return Reading()

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()


def refusal(url: str, status: int, body: bytes) -> str:
    """What an answer that is no stream means, in one line."""
    text = body.decode("utf-8", "replace")
    try:
        said = chunks.error_text(json.loads(text))
    except ValueError:
        said = chunks.excerpt(text, 80)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        said = f"{said}; set VLLM_API_KEY" if said else "set VLLM_API_KEY"
    return f"{url}: HTTP {status}{f', {said}' if said else ''}"


async def _chunks(response: httpx.Response) -> AsyncGenerator[Chunk, None]:
    parser = EventParser()
    source = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
    async with aclosing(source) as pieces:
        async for piece in pieces:
            for data in parser.push(piece):
                if data.strip() == chunks.DONE:
                    return
                yield chunks.parse(data)
    raise EngineError("the server closed the connection in the middle of the reply")


def _why(fault: httpx.HTTPError) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__
