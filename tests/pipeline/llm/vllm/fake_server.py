"""A small OpenAI server with vLLM's health check, metrics, prefix cache and faults, on real sockets.

Inside a test: `async with FakeServer("truncated") as fake`. As a program it takes the command line of `vllm serve`; the
fault is then in FAKE_FAULT, and it is healthy only while the file FAKE_GATE exists, if that is set. It knows nothing of
turngap. A word is a token; blocks have 16 of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

MODEL = "fake/model"
REPLY = ["Good ", "morning, ", "how ", "may ", "I ", "help ", "you?"]
BLOCK = 16
KV_BYTES = 100 * 1024 * 1024
NO_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
WARM_UPS = 3
"""Requests that a server which `dies` answers first."""


class FakeServer:
    """One server; `fault` can be changed while it runs."""

    def __init__(self, fault: str = "", model: str = MODEL, port: int = 0) -> None:
        self.fault, self.model, self.port = fault, model, port
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.routes: list[str] = []
        self.closed_by_client = 0
        self.generated = 0
        self.closed = asyncio.Event()
        self.tasks: set[asyncio.Task] = set()
        self.kept: list[list[str]] = []
        self.usage = 0.0
        self.metrics_read = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> FakeServer:
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.listener.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        route = first.split()[1]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if route == "/health":
            await write_response(writer, 503 if self.fault == "never_ready" or gate_closed() else 200, "")
        elif route == "/metrics":
            labels = f'block_size="{BLOCK}",engine="0",kv_cache_memory_bytes="{KV_BYTES}",num_gpu_blocks="100"'
            usage = f'vllm:kv_cache_usage_perc{{engine="0"}} {self.usage}\n'
            info = f"vllm:cache_config_info{{{labels}}} 1.0\n{usage}"
            await write_response(writer, 200, f"{info}vllm:generation_tokens_total {self.generated}\n")
            self.metrics_read.set()
        elif self.fault == "no_openai":
            await write_response(writer, 404, "<html>nothing here</html>")
        elif route == "/v1/models":
            await write_response(writer, 200, json.dumps({"object": "list", "data": [{"id": self.model}]}))
        else:
            self.requests.append(json.loads(body))
            self.headers.append(headers)
            self.routes.append(route)
            await self.complete(reader, writer, self.requests[-1], route)

    async def complete(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict, route: str
    ) -> None:
        fault = self.fault
        if fault in ("dies", "out_of_memory_later") and len(self.requests) <= WARM_UPS:
            fault = ""
        if fault.startswith("http_"):
            await write_response(
                writer, int(fault[5:]), json.dumps({"error": {"message": "it went\nwrong", "code": 1}})
            )
            return
        if fault == "html":
            await write_response(writer, 200, "<html></html>")
            return
        if body["model"] != self.model:
            await write_response(
                writer, 404, json.dumps({"error": {"message": f"The model `{body['model']}` does not exist."}})
            )
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n")
        await writer.drain()
        gone = asyncio.create_task(reader.read())  # ends when the client closes its connection
        try:
            for index, word in enumerate(self.words(body)):
                if gone.done():
                    return
                if index == 2 and fault in (
                    "truncated",
                    "dies",
                    "dies_warm",
                    "out_of_memory_later",
                    "malformed",
                    "error_event",
                ):
                    if fault == "out_of_memory_later":
                        print(NO_MEMORY, flush=True)
                        os._exit(1)
                    if fault.startswith("dies"):
                        print(os.environ.get("FAKE_LAST_WORDS", "RuntimeError: the engine died"), flush=True)
                        os._exit(7)
                    if fault == "malformed":
                        write_event(writer, "{nonsense")
                        await writer.drain()
                    if fault == "error_event":
                        write_event(writer, json.dumps({"error": {"message": "EngineCore encountered an issue"}}))
                        await writer.drain()
                    return
                if fault == "stall" and index == 1:
                    await gone
                    return
                self.generated += 1
                choice = {"text": word} if "prompt" in body else {"delta": {"content": word}}
                choice |= {"index": 0, "token_ids": [100 + index] if body.get("return_token_ids") else None}
                write_event(writer, json.dumps({"choices": [choice]}))
                await writer.drain()
                if fault == "endless":
                    await asyncio.sleep(0.001)
            write_event(writer, json.dumps({"choices": [], **self.report_usage(body)}))
            write_event(writer, "[DONE]")
            await writer.drain()
        finally:
            if gone.done():
                self.closed_by_client += 1
                self.closed.set()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    def words(self, body: dict):
        if self.fault == "endless":
            while True:
                yield "on and "
        reply = REPLY * 9 if body.get("ignore_eos") else REPLY
        yield from reply[: body["max_tokens"]]

    def report_usage(self, body: dict) -> dict:
        if "prompt" in body:
            prompt = [str(token) for token in body["prompt"]]
        else:
            prompt = " ".join(message["content"] for message in body["messages"]).split()
        common = max((common_length(prompt[:-1], kept) for kept in self.kept), default=0)
        cached = common if self.fault == "leaks" else common // BLOCK * BLOCK
        if self.fault == "leaks" and len(self.kept) > 3:
            cached = len(prompt) - 1
        self.kept.append(prompt)
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(list(self.words(body))),
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        metrics = {"queue_time_ms": 1.5, "time_to_first_token_ms": 20.0, "generation_time_ms": 30.25}
        return {"usage": usage, "metrics": metrics}


def gate_closed() -> bool:
    return "FAKE_GATE" in os.environ and not Path(os.environ["FAKE_GATE"]).exists()


def common_length(one: list[str], other: list[str]) -> int:
    """Return how many of the first words are the same."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other)))


def write_event(writer: asyncio.StreamWriter, data: str) -> None:
    writer.write(f"data: {data}\n\n".encode())


async def write_response(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def main(model: str, port: int, fault: str) -> None:
    starts = Path(os.environ["FAKE_STARTS"]) if "FAKE_STARTS" in os.environ else None
    if starts is not None:
        with starts.open("a") as file:
            file.write(f"{os.getpid()}\n")
    if fault == "dies_at_start":
        print(
            "(EngineCore pid=7) ERROR 11-22 11:42:05 [core.py:9] ValueError: No available memory for the cache blocks."
        )
        print("(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        sys.exit(1)
    if fault == "out_of_memory":
        print(f"(EngineCore pid=7) ERROR 11-22 11:42:05 [core.py:9] {NO_MEMORY}")
        print("(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        sys.exit(1)
    if fault == "dies_again" and starts is not None and len(starts.read_text().split()) > 1:
        sys.exit(3)
    print(f"INFO 11-22 11:42:59 [entry.py:140] Starting vLLM server on http://127.0.0.1:{port}", flush=True)
    async with FakeServer("" if fault == "dies_again" else fault, model, port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(arguments[0], int(arguments[arguments.index("--port") + 1]), os.environ.get("FAKE_FAULT", "")))
