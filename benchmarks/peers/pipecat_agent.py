"""Serves a pipecat agent on the engines of a turngap profile, as Twilio Media Streams.

    python -m benchmarks.peers.pipecat_agent [--turns smart_turn|silence] [--aggregation clause|sentence]

It prints one JSON line with its URL once its models are warm. It sends pipecat's own OpenTelemetry spans if
OTEL_EXPORTER_OTLP_ENDPOINT is set. Its settings, and why: docs/peers.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import (
    BaseUserTurnStopStrategy,
    SpeechTimeoutUserTurnStopStrategy,
    TurnAnalyzerUserTurnStopStrategy,
)
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.utils.tracing.setup import setup_tracing
from pipecat.workers.runner import WorkerRunner
from turngap_agent import loading, profile
from turngap_agent.loading import Engines

from benchmarks.peers.pipecat_services import EngineLLMService, EngineSTTService, EngineTTSService

SAMPLE_RATE = 8_000
OUT_CHUNKS = 2
"""Of 10 ms: 20 ms a message, half of pipecat's default; the first leaves sooner."""


def make_strategies(turns: str, speech_timeout_s: float) -> UserTurnStrategies:
    """Return when a turn ends: by Smart Turn (pipecat's default), or by silence alone."""
    stop: BaseUserTurnStopStrategy
    if turns == "smart_turn":
        stop = TurnAnalyzerUserTurnStopStrategy(turn_analyzer=LocalSmartTurnAnalyzerV3(cpu_count=1))
    else:
        stop = SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=speech_timeout_s)
    return UserTurnStrategies(stop=[stop])


async def serve_call(websocket: WebSocket, engines: Engines, max_tokens: int, options: argparse.Namespace) -> None:
    """Serve one call: the pipeline of pipecat's telephone examples."""
    await websocket.accept()
    start = None
    while start is None:
        message = json.loads(await websocket.receive_text())
        start = message.get("start") if message.get("event") == "start" else None
    serializer = TwilioFrameSerializer(
        stream_sid=start["streamSid"],
        call_sid=start["callSid"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_10ms_chunks=OUT_CHUNKS,
            add_wav_header=False,
            serializer=serializer,
        ),
    )
    context = LLMContext()
    user, assistant = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(),
            user_turn_strategies=make_strategies(options.turns, options.speech_timeout_s),
        ),
    )
    tts = EngineTTSService(engines.tts, engines.models["tts"])
    if options.aggregation == "clause":
        tts.speak_clauses()
    pipeline = Pipeline(
        [
            transport.input(),
            EngineSTTService(engines.stt, engines.models["stt"]),
            user,
            EngineLLMService(engines.llm, engines.models["llm"], max_tokens),
            tts,
            transport.output(),
            assistant,
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(
            audio_in_sample_rate=SAMPLE_RATE,
            audio_out_sample_rate=SAMPLE_RATE,
            enable_metrics=bool(options.traced),
        ),
        enable_tracing=bool(options.traced),
        additional_span_attributes={"call_sid": start["callSid"]},
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: FastAPIWebsocketTransport, client: WebSocket) -> None:
        await runner.cancel()

    await runner.run()


async def serve(options: argparse.Namespace) -> None:
    """Load the engines, print the ready line, and serve until stopped."""
    began_s = time.monotonic()
    chosen = profile.load(options.profile, tuple(options.set))
    # Pipecat brings its own voice detector, the same weights; the profile's and its turn model are not used.
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
    parser.add_argument("--turns", choices=("smart_turn", "silence"), default="smart_turn")
    parser.add_argument("--speech-timeout-s", type=float, default=0.2, help="silence strategy: after the detector's")
    parser.add_argument("--aggregation", choices=("clause", "sentence"), default="clause")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("PIPECAT_LOG", "WARNING"))
    options.traced = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    if options.traced:
        os.environ.setdefault("OTEL_BSP_SCHEDULE_DELAY", "500")  # a call's spans arrive soon after its end
        exporter: SpanExporter = OTLPSpanExporter()
        setup_tracing("pipecat-agent", exporter=exporter)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
