"""The engine on a real vLLM on a CPU: random weights in a tiny Llama, SmolLM2's own, and the profile `weightless`.

TURNGAP_VLLM is the command that starts vLLM, up to where the model follows; `tox -e vllm` sets it. One server lives at
a time: that of the last settings used, so that tests of the same settings follow one another.
"""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from turngap.model.result import WEIGHTLESS
from turngap.model.turn import Outcome
from turngap.store import folder as store
from turngap_agent import tracing
from turngap_agent.clock import now_ns
from turngap_agent.errors import EngineError
from turngap_agent.llm import Message, Request
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.settings import Restart, VllmSettings
from turngap_agent.llm.vllm.supervision import State
from turngap_agent.tracing import Stage

from benchmarks import vllm_stages
from tests.pipeline.llm.vllm import checkpoints
from tests.pipeline.llm.vllm.builders import make_request

COMMAND = tuple(shlex.split(os.environ.get("TURNGAP_VLLM", "")))
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.anyio,
    pytest.mark.skipif(not COMMAND, reason="no vLLM here: TURNGAP_VLLM is not set (tox -e vllm sets it)"),
]
SYSTEM = (
    "You are the receptionist of a small hotel. You are polite and brief, and you never say what you cannot know. " * 6
)
WORDS = "I would like to know when my room will be ready."
CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
PATIENCE_S = 600


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class SharedEngine:
    """At most one engine, with its server, shared by tests of the same settings."""

    def __init__(self) -> None:
        self.engine: VllmChat | None = None
        self.settings: VllmSettings | None = None

    async def get(self, settings: VllmSettings) -> VllmChat:
        """Return the engine of these settings: the running one, or a new one in its place."""
        if self.engine is None or settings != self.settings:
            await self.clear()
            self.engine, self.settings = VllmChat(settings), settings
            await self.engine.warm_up()
        return self.engine

    async def clear(self) -> None:
        """Close the engine, if there is one."""
        if self.engine is not None:
            await self.engine.close()
        self.engine = self.settings = None


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[SharedEngine]:
    one = SharedEngine()
    yield one
    await one.clear()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.tiny_llama(tmp_path_factory.mktemp("tiny-llama"), [SYSTEM, WORDS])


@pytest.fixture
async def engine(shared: SharedEngine, tiny: Path) -> VllmChat:
    """The tiny Llama with random weights."""
    return await shared.get(settings_for(tiny))


def settings_for(model: Path, **more) -> VllmSettings:
    return VllmSettings(
        **{
            "engine": "vllm",
            "model": str(model),
            "system_prompt": SYSTEM,
            "command": COMMAND,
            "environment": CPU,
            "load_format": "dummy",
            "dtype": "float32",
            "max_context": 2048,
            "max_sequences": 4,
            "max_tokens": 2000,
            "eager": True,
            "ignore_eos": True,
            "stall_limit_s": 120,
            "start_limit_s": PATIENCE_S,
            "restart": Restart(first_s=0.1),
            **more,
        }
    )


class FixedLine:
    """The engine, whose work is done and whose words are replaced: random weights have no words for a telephone."""

    LINE = "Good morning, how may I help you?"

    def __init__(self, engine: VllmChat) -> None:
        self.engine = engine

    async def reply(self, request: Request):
        async with aclosing(self.engine.reply(request)) as pieces:
            async for _ in pieces:
                pass
        yield self.LINE

    async def close(self) -> None:
        pass


async def reported_facts(engine: VllmChat, **request) -> dict:
    facts = {"sent_ns": now_ns()}
    async with aclosing(engine.reply(make_request(set_attribute=facts.__setitem__, **request))) as pieces:
        async for _ in pieces:
            facts.setdefault("first_ns", now_ns())
    return facts


async def metric(engine: VllmChat, name: str) -> float:
    """Return the sum of a metric over its labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(engine.metrics_url, timeout=60)).text
    return sum(float(value) for value in re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE))


async def wait_for_restart(engine: VllmChat, first: int | None) -> None:
    """Wait until a server of another process than `first` is ready."""
    server = engine.server
    async with asyncio.timeout(PATIENCE_S):
        while server.pid in (None, first) or server.state is not State.READY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_stage_times_are_those_of_vllms_own_metrics(engine: VllmChat) -> None:
    """Queue, prefill and decode in the span lie within 5 ms of the histograms' differences; inside the first token."""
    stages = await vllm_stages.compare_request(engine, engine.metrics_url, 9)
    print(vllm_stages.describe(stages))
    assert [one.largest_ms for one in stages if one.largest_ms > vllm_stages.LIMIT_MS] == []
    for one in stages:
        assert 0 < one.span_ms[tracing.LLM_QUEUE_MS] + one.span_ms[tracing.LLM_PREFILL_MS] <= one.first_token_ms
        assert one.span_ms[tracing.LLM_DECODE_MS] > 0


async def test_speculative_requests_are_accepted(engine: VllmChat) -> None:
    """The server understands priorities."""
    facts = await reported_facts(engine, words=WORDS, call="a", max_tokens=8, waiting=False)
    assert facts[tracing.LLM_PREFILL_MS] > 0


async def test_prefix_hits_are_the_system_prompt_and_the_calls_own_history(engine: VllmChat) -> None:
    """The same conversation twice: the second call is served no more than the first, and never more than is allowed."""
    hits = []
    for call in ("7", "8"):
        first = await reported_facts(engine, words=WORDS, call=call, max_tokens=8)
        history = (Message("user", WORDS), Message("assistant", "It will be ready at noon, and I will call you. " * 4))
        second = await reported_facts(engine, words="Thank you.", call=call, history=history, max_tokens=8)
        third = await reported_facts(engine, words="Good bye.", call=call, history=history, max_tokens=8)
        for facts in (first, second, third):
            assert facts[tracing.PREFIX_CACHED_TOKENS] <= facts[tracing.PREFIX_ALLOWED_TOKENS]
        hits.append([facts[tracing.PREFIX_CACHED_TOKENS] for facts in (first, second, third)])
    assert hits[0] == hits[1]
    assert 0 < hits[0][0] < hits[0][2]


async def test_the_same_scenario_twice_through_the_agent(engine: VllmChat, serve) -> None:
    """Two callers, each with the same three turns: the agent's own blocks keep their prompts apart."""
    async with serve("llm.max_tokens=24", llm=FixedLine(engine)) as served:
        for name in ("1", "2"):
            async with served.phone(name) as phone:
                for _ in range(3):
                    await phone.ask()
                    await phone.reply()
                await phone.hang_up()
                await served.idle()
    turns = served.traces.turns
    hits = [turn.attributes[tracing.PREFIX_CACHED_TOKENS] for turn in turns]
    allowed = [turn.attributes[tracing.PREFIX_ALLOWED_TOKENS] for turn in turns]
    print(f"prefix hits {hits}, allowed {allowed}")
    assert len(turns) == 6
    assert all(hit <= most for hit, most in zip(hits, allowed, strict=True))
    assert min(hits) > 0
    assert hits[:3] == hits[3:]
    assert max(hits[0], hits[3]) <= allowed[0] == allowed[3]  # a new call is served the system prompt only


async def test_a_closed_reply_stops_generating(engine: VllmChat) -> None:
    """The request ends, most of its tokens are never generated, and none is generated after that."""
    before = await metric(engine, "vllm:generation_tokens_total")
    async with aclosing(engine.reply(make_request(words=WORDS, max_tokens=1500))) as pieces:
        await anext(pieces)
    async with asyncio.timeout(PATIENCE_S):
        while await metric(engine, "vllm:num_requests_running"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    generated = await metric(engine, "vllm:generation_tokens_total") - before
    print(f"{generated:.0f} of 1500 tokens were generated")
    assert 0 < generated < 1500
    await asyncio.sleep(0.2)
    assert await metric(engine, "vllm:generation_tokens_total") - before == generated


async def test_the_peak_of_the_cache_is_what_the_reply_held(engine: VllmChat) -> None:
    """Of the gibibyte that is reserved, what the one running request held: some of it, at most its context."""
    cache = None
    async with asyncio.timeout(PATIENCE_S):
        while cache is None or not cache.used_peak_mib:  # a late reading finds that the reply has ended
            await reported_facts(engine, words=WORDS, call="k", max_tokens=400)
            cache = engine.kv_cache()
    print(f"KV cache: {cache.used_peak_mib:.3f} of {cache.reserved_mib:.0f} MiB used at peak")
    assert cache.reserved_mib == pytest.approx(1024, rel=0.01)
    # Keys and values of 2 layers, 1 head of 64, in float32: 2 KiB a token.
    assert 0 < cache.used_peak_mib <= 4 * 2048 * 2 / 1024


async def test_a_caller_hears_an_apology_while_a_killed_server_restarts(engine: VllmChat, serve) -> None:
    """In one call: an answer, the server is killed, an apology, and an answer; the prefix cache is warm again."""
    first = engine.server.pid
    apology = "I am sorry, please try again."
    async with serve(f"llm.apology={apology}", llm=FixedLine(engine)) as served, served.phone() as phone:
        await phone.ask()
        await phone.reply()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while engine.server.state is State.READY:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await phone.ask()
        await phone.reply()
        await wait_for_restart(engine, first)
        await phone.ask()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    replies = [turn.attributes[tracing.REPLY] for turn in served.traces.turns]
    assert replies == [FixedLine.LINE, apology, FixedLine.LINE]
    assert "llm: vLLM is down (it was killed by SIGKILL, " in served.traces.turns[1].attributes[tracing.ERROR]
    again = served.traces.turns[2].attributes
    assert again[tracing.LLM_PREFILL_MS] > 0
    assert 0 < again[tracing.PREFIX_CACHED_TOKENS] <= again[tracing.PREFIX_ALLOWED_TOKENS]


async def test_ids_replace_a_tokenizer(shared: SharedEngine, tiny: Path) -> None:
    """Without any tokenizer: the reply is the script, and the next request finds what was generated in the cache."""
    script = "One moment, please. I look it up for you, it will not take long."
    settings = settings_for(tiny, prompt="token_ids", script=script)
    (tiny / "tokenizer.json").rename(tiny / "tokenizer.away")
    try:
        engine = await shared.get(settings)
        pieces = [piece async for piece in engine.reply(make_request(words=WORDS, max_tokens=100))]
        history = (Message("user", WORDS), Message("assistant", script))
        facts = await reported_facts(engine, words="Thank you. " * 40, history=history, max_tokens=100)
    finally:
        (tiny / "tokenizer.away").rename(tiny / "tokenizer.json")
    assert "".join(pieces) == script
    assert facts[tracing.PREFIX_CACHED_TOKENS] <= facts[tracing.PREFIX_ALLOWED_TOKENS]
    assert facts[tracing.LLM_PREFILL_MS] > 0


@pytest.mark.engines
async def test_smollm2_answers_with_its_own_weights(
    shared: SharedEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A real model understands the question and ends its reply itself, and its stage times are vLLM's."""
    await shared.clear()
    folder = await asyncio.to_thread(checkpoints.smollm2, tmp_path_factory.mktemp("smollm2"))
    settings = settings_for(
        folder,
        load_format="auto",
        ignore_eos=False,
        max_tokens=48,
        system_prompt="You are a helpful assistant. You answer in one short sentence.",
    )
    engine = await shared.get(settings)
    request = make_request("What is the capital of France?", max_tokens=48)
    reply = "".join([piece async for piece in engine.reply(request)])
    print(reply)
    assert "Paris" in reply
    stages = await vllm_stages.compare_request(engine, engine.metrics_url, 5)
    print(vllm_stages.describe(stages))
    assert max(one.largest_ms for one in stages) <= vllm_stages.LIMIT_MS


async def test_a_folder_without_a_model_is_one_line(shared: SharedEngine, tmp_path: Path) -> None:
    """vLLM's own error with the setting to correct."""
    with pytest.raises(EngineError) as raised:
        await shared.get(settings_for(tmp_path))
    assert str(raised.value).startswith("llm: vLLM did not start: it ended with code 1: ")
    assert "llm.model" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_cache_that_does_not_fit_is_one_line(shared: SharedEngine, tiny: Path) -> None:
    """A machine without so much memory: vLLM's own figures and the setting to lower."""
    with pytest.raises(EngineError) as raised:
        await shared.get(settings_for(tiny, environment={**CPU, "VLLM_CPU_KVCACHE_SPACE": "1000000"}))  # GiB
    print(raised.value)
    assert "less than requested memory for kv" in str(raised.value)
    assert "llm.kv_cache_mib" in str(raised.value)
    assert "\n" not in str(raised.value)


SCENARIO = """
name: two
warm_up_turns: 1
turns:
- {id: first, prompt: vm-nonumber}
- {id: second, prompt: something-terribly-wrong}
"""


@pytest.mark.engines
async def test_the_profile_weightless_end_to_end(shared: SharedEngine, tmp_path: Path) -> None:
    """The whole path of the GPU's profile, with small sizes in each architecture: stages, caveat, prefix, KV cache."""
    pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
    pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")
    await shared.clear()
    scenario = tmp_path / "two.scenario.yaml"
    scenario.write_text(SCENARIO)
    (tmp_path / "gemma").mkdir()
    changes = {
        "stt.weights": "tiny",
        "stt.device": "cpu",
        "stt.window_s": 10,
        "llm.model": str(checkpoints.tiny_gemma(tmp_path / "gemma")),
        "llm.command": list(COMMAND),
        "llm.environment": CPU,
        "llm.eager": True,
        "llm.max_sequences": 2,
        "llm.stall_limit_s": 120,
        "tts.weights": "tiny",
        "tts.device": "cpu",
        "tts.context_positions": 512,
        "tts.max_frames": 60,
    }
    overrides = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    command = [sys.executable, "-m", "turngap", "run", str(scenario), "--profile", "weightless", *overrides]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = await asyncio.to_thread(
        subprocess.run,
        [*command, "--out", str(tmp_path), "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode in (0, 2), result.stderr  # 2: the machine made the instrument late
    printed = json.loads(result.stdout)
    assert printed["sentence"].endswith(WEIGHTLESS)
    assert printed["wer"] is None
    assert "random weights, supervised" in printed["agent"]["models"]["llm"]
    cache = printed["agent"]["kv_cache"]
    assert 0 <= cache["used_peak_mib"] < cache["reserved_mib"]  # replies of 13 tokens may have ended before the reading
    checks = {check["name"]: check for check in printed["validity"]}
    assert checks["prefix cache"]["ok"] is True, checks["prefix cache"]
    run = store.read_run(tmp_path / printed["run_id"])
    for turn in run.turns:
        # Speech slower than real time is a CPU's; what is looked at here is the path, never its speed.
        assert turn.outcome in (Outcome.ANSWERED, Outcome.BROKEN, Outcome.INVALID), turn.detail
        assert turn.stages is not None
        assert turn.stages[Stage.FIRST_TOKEN].duration_ms > 0
    report = (tmp_path / printed["run_id"] / "report.html").read_text()
    assert "KV cache used at peak" in report
