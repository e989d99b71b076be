"""A real agent on a real socket inside the test's own loop, and a telephone to call it with.

Packages of the server and of its callers are imported where they are used: the engines' tests are collected on a
machine that has torch and pytest alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from turngap_agent import tracing

if TYPE_CHECKING:
    from turngap_agent.call import Agent
    from turngap_agent.server.admission import Admission
    from turngap_agent.server.hosting import AgentHttpServer
    from turngap_agent.telephony.messages import Outbound

AT_ONCE = ("stt.delay_ms=0", "llm.first_token_ms=0", "llm.token_ms=0", "tts.first_audio_ms=0")
"""Scripted engines that take no time."""
AT_ANY_PACE = "limits.burst_s=100000"
"""Callers of tests send as fast as they can."""
NO_LANDING = "barge_in.landing_ms=0"
"""Callers of tests speak within milliseconds of a reply's start; most of them mean to interrupt it."""
PATIENCE_S = 10
"""No wait in a test lasts longer; none is near it unless something is broken."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def wait_until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for knows nothing of the test
            await asyncio.sleep(0.005)


class Traces:
    """Takes the spans of ended calls."""

    def __init__(self) -> None:
        self.calls = []
        self.clauses = []
        """Spans of clauses, which come one by one as each was sent."""

    def put(self, traces) -> None:
        if traces[0].spans[0].name == tracing.CLAUSE_SPAN:
            self.clauses += traces[0].spans
        else:
            self.calls.append(traces)

    @property
    def turns(self) -> list[tracing.Span]:
        """All turn spans, in order."""
        return [trace.spans[0] for call in self.calls for trace in call[:-1]]

    def stages(self, attempt: int = 0) -> dict[str, tracing.Span]:
        """Of one attempt of the first call, the stage spans by stage."""
        return {span.stage: span for span in self.calls[0][attempt].spans if span.stage is not None}


class Followed:
    """A detector engine that also records how much audio each call's detector got; all else is the engine's own."""

    def __init__(self, engine) -> None:
        self._engine = engine
        self.detectors = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def detector(self):
        self.detectors.append(FollowedDetector(self._engine.detector()))
        return self.detectors[-1]


class FollowedDetector:
    """One call's detector, and how many samples of the call it has judged."""

    def __init__(self, detector) -> None:
        self._detector = detector
        self.judged = 0

    async def push(self, pcm):
        voicings = await self._detector.push(pcm)
        self.judged += len(pcm)
        return voicings


@dataclass
class Served:
    """An agent that is up."""

    port: int
    http: AgentHttpServer
    agent: Agent
    admission: Admission
    traces: Traces

    @property
    def url(self) -> str:
        from turngap_agent.telephony import MEDIA_PATH

        return f"ws://127.0.0.1:{self.port}{MEDIA_PATH}"

    @contextlib.asynccontextmanager
    async def phone(self, name: str = "1", *, start: bool = True, **start_fields) -> AsyncIterator[Phone]:
        """A call; `start_fields` change the `start` message."""
        import websockets

        async with websockets.connect(self.url, compression=None, max_queue=None) as socket_:
            phone = Phone(socket_, f"MZ{name}", f"CA{name}")
            if start:
                await phone.begin(**start_fields)
            yield phone

    def count(self, metric: str, **labels: str) -> float:
        """Return the current value of the metric."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.agent.metrics.exposition().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == metric]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    async def heard_all(self, phone: Phone) -> None:
        """Return when the agent has judged all that `phone`, its only caller so far, has sent."""
        from turngap_agent.telephony import FRAME_SAMPLES

        detectors = self.agent.engines.vad.detectors
        await wait_until(lambda: sum(each.judged for each in detectors) >= phone.chunk * FRAME_SAMPLES)

    async def idle(self) -> None:
        """Return when no call holds a line any more."""
        await wait_until(lambda: not self.admission.active)

    async def ended(self, attempts: int) -> None:
        """Return when so many attempts have come to their end."""
        await wait_until(lambda: self.count("turngap_turns_total") >= attempts)


class Phone:
    """The caller's end of a stream. Frames are sent as fast as they go: the agent counts samples, not seconds."""

    def __init__(self, socket_, stream_sid: str, call_sid: str) -> None:
        self.socket, self.stream_sid, self.call_sid = socket_, stream_sid, call_sid
        self.chunk = 0

    async def begin(self, **start_fields) -> None:
        from turngap_agent.telephony.messages import Connected, Start

        await self.send(Connected())
        await self.send(replace(Start(self.stream_sid, self.call_sid, "AC1"), **start_fields))

    async def send(self, message) -> None:
        await self.socket.send(message if isinstance(message, (str, bytes)) else message.to_json())

    async def speak(self, ms: int) -> None:
        """A tone, well over any threshold."""
        tone = 8000 * np.sin(2 * np.pi * 300 * np.arange(ms * 8) / 8000)
        await self._frames(tone.astype(np.int16))

    async def hush(self, ms: int) -> None:
        await self._frames(np.zeros(ms * 8, np.int16))

    async def ask(self) -> None:
        """One utterance and enough silence to end the turn."""
        await self.speak(400)
        await self.hush(400)

    async def play(self, pcm) -> None:
        """Any audio, int16, shape (n,)."""
        await self._frames(pcm)

    async def _frames(self, pcm) -> None:
        from turngap_agent.telephony import mulaw
        from turngap_agent.telephony.messages import InboundMedia

        for at in range(0, len(pcm), 160):
            self.chunk += 1
            payload = mulaw.encode(pcm[at : at + 160])
            await self.send(InboundMedia(self.stream_sid, self.chunk + 1, self.chunk, 100 + 20 * self.chunk, payload))

    async def receive(self) -> Outbound:
        from turngap_agent.telephony.parsing import parse_outbound

        async with asyncio.timeout(PATIENCE_S):
            return parse_outbound(await self.socket.recv())

    async def until(self, *kinds: type) -> tuple[Outbound, bytes]:
        """The next message of one of `kinds`, and the audio before it."""
        from turngap_agent.telephony.messages import OutboundMedia

        audio = b""
        while not isinstance(message := await self.receive(), kinds):
            audio += message.payload if isinstance(message, OutboundMedia) else b""
        return message, audio

    async def reply(self, *, echo: bool = True) -> tuple[str, bytes]:
        """A whole reply: its mark's name and its audio; the mark is echoed as if it had played."""
        from turngap_agent.telephony.messages import InboundMark, OutboundMark

        mark, audio = await self.until(OutboundMark)
        if echo:
            await self.send(InboundMark(self.stream_sid, 1, mark.name))
        return mark.name, audio

    async def cleared(self) -> None:
        """Return when the agent has sent `clear`."""
        from turngap_agent.telephony.messages import Clear

        await self.until(Clear)

    async def hang_up(self) -> None:
        """`stop`, as Twilio sends it, and the end of the socket."""
        await self.stop()
        await self.closed()

    async def stop(self) -> None:
        from turngap_agent.telephony.messages import Stop

        await self.send(Stop(self.stream_sid, 1, "AC1", self.call_sid))

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the agent's close."""
        async with asyncio.timeout(PATIENCE_S):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason


class Receiver:
    """A small OTLP/HTTP receiver on a port of its own; answers `status`, or nothing at all where that is None."""

    def __init__(self, status: int | None) -> None:
        self.spans = []
        self.resource = {}
        receiver, self.released = self, threading.Event()

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # the base class's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if status is None:
                    receiver.released.wait(PATIENCE_S)
                    return
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    receiver.resource = receiver.facts(group.resource)
                    receiver.spans += [span for scope in group.scope_spans for span in scope.spans]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def facts(self, holder) -> dict:
        """The attributes of a span or resource."""
        return {attribute.key: self._value(attribute.value) for attribute in holder.attributes}

    def _value(self, value):
        content = getattr(value, value.WhichOneof("value"))
        return tuple(map(self._value, content.values)) if hasattr(content, "values") else content

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def otlp_receiver():
    """Makes receivers, by the HTTP status they answer with."""
    made = []

    def make(status: int | None = 200) -> Receiver:
        made.append(Receiver(status))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def pick_up() -> Callable[..., Phone]:
    """Makes the caller's end of a socket that is already open."""
    return lambda socket_: Phone(socket_, "MZ1", "CA1")


@pytest.fixture
def serve() -> Callable:
    """`async with serve(*overrides, inject=, faults=, token=, stt=, llm=, tts=, vad=) as served`."""

    from turngap_agent import loading, profile
    from turngap_agent.call import Agent
    from turngap_agent.call.announcements import make_announcements
    from turngap_agent.inject import Injection
    from turngap_agent.inject.engines import wrap_engine
    from turngap_agent.replacements import Replacements
    from turngap_agent.server import app as server
    from turngap_agent.server.admission import Admission
    from turngap_agent.server.hosting import AgentHttpServer
    from turngap_agent.server.serve import listen
    from turngap_agent.telemetry.metrics import LoopLag, Metrics

    @contextlib.asynccontextmanager
    async def serve(
        *overrides: str, inject=(), faults: bool = False, token: str | None = None, **replaced
    ) -> AsyncIterator[Served]:
        chosen = profile.load("scripted", (*AT_ONCE, AT_ANY_PACE, NO_LANDING, *overrides))
        loaded = await loading.load(chosen, wrap_engine if faults else None)
        announcements = await make_announcements(chosen, loaded.tts)
        loaded = replace(loaded, **replaced)
        loaded = replace(loaded, vad=Followed(loaded.vad))
        listener = listen("127.0.0.1", 0)
        admission = Admission(chosen.limits.simultaneous_calls, token, chosen.limits.calls_a_minute)
        lag, traces = LoopLag(), Traces()
        metrics = Metrics(lag, lambda: admission.active, lambda: 0, loaded.kv_cache)
        overseer = Replacements(chosen, loaded, metrics)
        agent = Agent(
            chosen,
            loaded,
            Injection.parse(inject, faults=faults),
            metrics,
            traces,
            announcements=announcements,
            overseer=overseer,
        )
        ready = asyncio.Event()
        http = AgentHttpServer(server.create_app(agent, admission, lag), ready.set)
        serving = asyncio.create_task(http.serve([listener]))
        await ready.wait()
        try:
            yield Served(listener.getsockname()[1], http, agent, admission, traces)
        finally:
            http.should_exit = True
            await serving
            await overseer.close()

    return serve
