"""Serves a LiveKit agent on the engines of a turngap profile, as Twilio Media Streams, without a LiveKit server.

    python -m benchmarks.peers.livekit_agent [--profile cpu] [--min-delay-s 0.4]

A session makes a room only if it has no audio of its own: here both directions are a WebSocket. It prints one JSON line
with its URL once its models are warm, and sends LiveKit's own spans if OTEL_EXPORTER_OTLP_ENDPOINT is set.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import time
import uuid
from contextlib import aclosing
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectOptions,
    inference,
    llm,
    stt,
    tts,
    utils,
)
from livekit.agents.telemetry import set_tracer_provider
from livekit.agents.voice import io
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from turngap_agent import loading, profile
from turngap_agent.call.conversation import has_words, make_call_block
from turngap_agent.llm import LanguageModel, Message, Request
from turngap_agent.loading import Engines
from turngap_agent.resample import Downsampler
from turngap_agent.stt import SpeechToText
from turngap_agent.telephony import mulaw
from turngap_agent.tts import Synthesizer

SAMPLE_RATE = 8_000
_FULL_SCALE = 32_768.0


class EngineSTT(stt.STT):
    """Recognises each segment that the voice detector ends."""

    def __init__(self, engine: SpeechToText) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._engine = engine

    async def _recognize_impl(self, buffer: Any, *, language: Any, conn_options: APIConnectOptions) -> Any:
        frame = rtc.combine_audio_frames(buffer)
        pcm = np.frombuffer(frame.data, np.int16).astype(np.float32) / _FULL_SCALE
        if frame.sample_rate != SAMPLE_RATE:
            down = Downsampler(frame.sample_rate)
            pcm = np.concatenate([down.push(pcm), down.flush()]).astype(np.float32) / _FULL_SCALE
        text = (await self._engine.transcribe(pcm)).text.strip()
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language="en", text=text if has_words(text) else "")],
        )


class EngineLLM(llm.LLM):
    """Generates from LiveKit's context."""

    def __init__(self, engine: LanguageModel, max_tokens: int) -> None:
        super().__init__()
        self.engine, self.max_tokens, self.call_block = engine, max_tokens, make_call_block()

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: Any = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **others: Any,
    ) -> llm.LLMStream:
        """Return the stream of a reply."""
        return _EngineStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _EngineStream(llm.LLMStream):
    async def _run(self) -> None:
        messages: list[Message] = []
        for item in self._chat_ctx.items:
            text = item.text_content if item.type == "message" else None
            if text and item.role in ("user", "assistant"):
                if messages and messages[-1].role == item.role:
                    messages[-1] = Message(item.role, f"{messages[-1].text} {text}")
                else:
                    messages.append(Message(item.role, text))
        own = self._llm
        request = Request(own.call_block, tuple(messages[:-1]), messages[-1].text, own.max_tokens)
        name = uuid.uuid4().hex
        async with aclosing(own.engine.reply(request)) as pieces:
            async for piece in pieces:
                delta = llm.ChoiceDelta(role="assistant", content=piece)
                self._event_ch.send_nowait(llm.ChatChunk(id=name, delta=delta))


class EngineTTS(tts.TTS):
    """Speaks a sentence at a time, as LiveKit cuts them."""

    def __init__(self, engine: Synthesizer) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=SAMPLE_RATE, num_channels=1)
        self.engine = engine

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Return the stream of a text's audio."""
        return _EngineSpeech(tts=self, input_text=text, conn_options=conn_options)


class _EngineSpeech(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=uuid.uuid4().hex,
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            frame_size_ms=20,
        )
        down = Downsampler(self._tts.engine.sample_rate)
        async with aclosing(self._tts.engine.speak(self._input_text)) as pieces:
            async for piece in pieces:
                output_emitter.push(down.push(piece).tobytes())
        output_emitter.push(down.flush().tobytes())
        output_emitter.flush()


class SocketInput(io.AudioInput):
    """The caller's audio."""

    def __init__(self) -> None:
        super().__init__(label="media-stream")
        self.frames: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await self.frames.get()
        if frame is None:
            raise StopAsyncIteration
        return frame


class SocketOutput(io.AudioOutput):
    """The agent's audio: sent at once, marked at the end of a segment, cleared when it is interrupted."""

    def __init__(self, websocket: WebSocket, stream_sid: str) -> None:
        super().__init__(
            label="media-stream", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=SAMPLE_RATE
        )
        self._websocket, self._sid = websocket, stream_sid
        self._pushed_s = 0.0
        self._open = False
        self._segments = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Send a frame."""
        await super().capture_frame(frame)
        if not self._pushed_s:
            self.on_playback_started(created_at=time.time())
        self._pushed_s += frame.duration
        self._open = True
        payload = base64.b64encode(mulaw.encode(np.frombuffer(frame.data, np.int16))).decode()
        await self._send({"event": "media", "media": {"payload": payload}})

    def flush(self) -> None:
        """End a segment: the caller's side echoes the mark when it has been played."""
        super().flush()
        if self._open:
            self._segments += 1
            self._later({"event": "mark", "mark": {"name": f"segment-{self._segments}"}})

    def clear_buffer(self) -> None:
        """Drop what was not played."""
        if self._open:
            self._later({"event": "clear"})
            self.end_segment(interrupted=True)

    def end_segment(self, *, interrupted: bool) -> None:
        """Tell the session that a segment was played, or cleared."""
        if self._open:
            pushed_s, self._pushed_s, self._open = self._pushed_s, 0.0, False
            self.on_playback_finished(playback_position=pushed_s, interrupted=interrupted)

    def _later(self, message: dict[str, Any]) -> None:
        task = asyncio.create_task(self._send(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps({**message, "streamSid": self._sid}))


async def serve_call(websocket: WebSocket, engines: Engines, max_tokens: int, options: argparse.Namespace) -> None:
    """Serve one call."""
    await websocket.accept()
    source, output, session = SocketInput(), None, None
    try:
        while True:
            message = json.loads(await websocket.receive_text())
            if message["event"] == "start":
                output = SocketOutput(websocket, message["start"]["streamSid"])
                session = make_session(engines, max_tokens, options)
                session.input.audio, session.output.audio = source, output
                await session.start(Agent(instructions=""))
            elif message["event"] == "media":
                pcm = mulaw.decode(base64.b64decode(message["media"]["payload"]))
                source.frames.put_nowait(rtc.AudioFrame(pcm.tobytes(), SAMPLE_RATE, 1, len(pcm)))
            elif message["event"] == "mark" and output is not None:
                output.end_segment(interrupted=False)
            elif message["event"] == "stop":
                break
    except WebSocketDisconnect:
        pass
    source.frames.put_nowait(None)
    if session is not None:
        await session.aclose()


def make_session(engines: Engines, max_tokens: int, options: argparse.Namespace) -> AgentSession:
    """Return a session that ends turns by its voice detector, and generates ahead while it waits."""
    return AgentSession(
        vad=inference.VAD(min_silence_duration=options.vad_silence_s),
        stt=EngineSTT(engines.stt),
        llm=EngineLLM(engines.llm, max_tokens),
        tts=EngineTTS(engines.tts),
        turn_handling={
            "turn_detection": "vad",
            "endpointing": {"min_delay": options.min_delay_s},
            "preemptive_generation": {"enabled": True, "preemptive_tts": True},
        },
        tools=NOT_GIVEN,
    )


async def serve(options: argparse.Namespace) -> None:
    """Load the engines, print the ready line, and serve until stopped."""
    began_s = time.monotonic()
    utils.http_context._new_session_ctx()
    chosen = profile.load(options.profile, tuple(options.set))
    engines = await loading.load(chosen)
    app = FastAPI()

    @app.websocket("/media")
    async def media(websocket: WebSocket) -> None:
        await serve_call(websocket, engines, chosen.llm.max_tokens, options)

    with socket.create_server(("127.0.0.1", options.port)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/media"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        ready = {
            "event": "ready",
            "url": url,
            "models": engines.models,
            "ready_s": round(time.monotonic() - began_s, 1),
        }
        print(json.dumps(ready), flush=True)
        await server.serve(sockets=[listener])
    await engines.close()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--set", action="append", default=[], help="change the profile: section.key=value")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--vad-silence-s", type=float, default=0.25, help="LiveKit's default")
    parser.add_argument("--min-delay-s", type=float, default=0.4, help="silence that ends a turn; LiveKit: 0.5")
    options = parser.parse_args()
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        os.environ.setdefault("OTEL_BSP_SCHEDULE_DELAY", "500")
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        set_tracer_provider(provider, allow_pii=True)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
