"""The engine on a real vLLM, with random weights in a tiny Llama that is written here: nothing is downloaded.

TURNGAP_VLLM is the command that starts vLLM, up to where the model follows; `tox -e vllm` sets it.
"""

import asyncio
import json
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from statistics import mean

import httpx
import pytest

from pipeline import tracing
from pipeline.clock import now_ns
from pipeline.errors import EngineError
from pipeline.llm import Message
from pipeline.llm.vllm.engine import VllmChat
from pipeline.llm.vllm.supervision import State
from pipeline.profile.vllm import Restart, VllmSettings
from tests.pipeline.llm.vllm.builders import asked

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
PATIENCE_S = 300


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a byte-level vocabulary and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tiny-llama")
    marks = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([SYSTEM, WORDS], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": template})
    )
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 320, "head_dim": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048}
    rest = {
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "tie_word_embeddings": True,
        "eos_token_id": 3,
    }
    (folder / "config.json").write_text(
        json.dumps(
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32", **shape, **heads, **rest}
        )
    )
    return folder


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
            "stall_limit_s": 60,
            "start_limit_s": PATIENCE_S,
            "restart": Restart(first_s=0.1),
            **more,
        }
    )


@asynccontextmanager
async def running(settings: VllmSettings) -> AsyncIterator[VllmChat]:
    engine = VllmChat(settings)
    try:
        await engine.warm_up()
        yield engine
    finally:
        await engine.close()


@pytest.fixture(scope="module")
async def engine(tiny: Path) -> AsyncIterator[VllmChat]:
    async with running(settings_for(tiny)) as started:
        yield started


async def noted(engine: VllmChat, **request) -> dict:
    facts = {"sent_ns": now_ns()}
    async with aclosing(engine.reply(asked(note=facts.__setitem__, **request))) as pieces:
        async for _ in pieces:
            facts.setdefault("first_ns", now_ns())
    return facts


async def metric(engine: VllmChat, name: str) -> float:
    """The sum of a metric over its labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{engine._client.root}/metrics", timeout=60)).text
    return sum(float(value) for value in re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE))


async def test_it_replies_and_tells_its_stages(engine: VllmChat) -> None:
    """Queue and prefill lie inside what we waited for the first token; priorities are understood."""
    arrived_s = await metric(engine, "vllm:time_to_first_token_seconds_sum")
    ours_ms, theirs_ms = [], []
    for call in "abcdefghi":
        facts = await noted(engine, words=WORDS, call=call, max_tokens=8, waiting=False)
        ours_ms.append((facts["first_ns"] - facts["sent_ns"]) / 1e6)
        theirs_ms.append(facts[tracing.LLM_QUEUE_MS] + facts[tracing.LLM_PREFILL_MS])
        assert 0 < theirs_ms[-1] <= ours_ms[-1]
        assert facts[tracing.LLM_DECODE_MS] > 0
    arrived_s = await metric(engine, "vllm:time_to_first_token_seconds_sum") - arrived_s
    means = (mean(ours_ms), arrived_s * 1000 / len(ours_ms), mean(theirs_ms))
    print("first token, mean: {:.1f} ms for us, {:.1f} from vLLM's front, {:.1f} queue and prefill".format(*means))


async def test_prefix_hits_are_the_system_prompt_and_the_calls_own_history(engine: VllmChat) -> None:
    """The same conversation twice: the second call finds no more than the first, and never more than is allowed."""
    hits = []
    for call in ("7", "8"):
        first = await noted(engine, words=WORDS, call=call, max_tokens=8)
        history = (Message("user", WORDS), Message("assistant", "It will be ready at noon, and I will call you. " * 4))
        second = await noted(engine, words="Thank you.", call=call, history=history, max_tokens=8)
        third = await noted(engine, words="Good bye.", call=call, history=history, max_tokens=8)
        for facts in (first, second, third):
            assert facts[tracing.PREFIX_CACHED_TOKENS] <= facts[tracing.PREFIX_ALLOWED_TOKENS]
        hits.append([facts[tracing.PREFIX_CACHED_TOKENS] for facts in (first, second, third)])
    assert hits[0] == hits[1]
    assert 0 < hits[0][0] < hits[0][2]


async def test_a_closed_reply_stops_generating(engine: VllmChat) -> None:
    """Nothing runs any more, most of its tokens were never made, and none is made after that."""
    before = await metric(engine, "vllm:generation_tokens_total")
    async with aclosing(engine.reply(asked(words=WORDS, max_tokens=1500))) as pieces:
        await anext(pieces)
    async with asyncio.timeout(PATIENCE_S):
        while await metric(engine, "vllm:num_requests_running"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    made = await metric(engine, "vllm:generation_tokens_total") - before
    assert 0 < made < 1500
    await asyncio.sleep(0.2)
    assert await metric(engine, "vllm:generation_tokens_total") - before == made


async def test_a_killed_server_comes_back(engine: VllmChat) -> None:
    """Workers and all; the prefix cache is warm again."""
    server = engine.server
    first = server.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(EngineError, match=r"^llm: "):
        await noted(engine, words=WORDS, max_tokens=8)
    async with asyncio.timeout(PATIENCE_S):
        while server.pid in (None, first) or server.state is not State.READY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert server.pid != first
    facts = await noted(engine, words=WORDS, call="3", max_tokens=8)
    assert 0 < facts[tracing.PREFIX_CACHED_TOKENS] <= facts[tracing.PREFIX_ALLOWED_TOKENS]


async def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    """vLLM's own error with the setting to correct."""
    with pytest.raises(EngineError) as raised:
        async with running(settings_for(tmp_path)):
            pass
    assert str(raised.value).startswith("llm: vLLM does not start: it ended with code 1: ")
    assert "llm.model" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_ids_stand_in_for_a_tokenizer(tiny: Path) -> None:
    """Without any tokenizer: the script is said, what was generated is found in the cache by the next request."""
    script = "One moment, please. I look it up for you, it will not take long."
    settings = settings_for(tiny, prompt="token_ids", script=script)
    (tiny / "tokenizer.json").rename(tiny / "tokenizer.away")
    try:
        async with running(settings) as engine:
            said = [piece async for piece in engine.reply(asked(words=WORDS, max_tokens=100))]
            history = (Message("user", WORDS), Message("assistant", script))
            facts = await noted(engine, words="Thank you. " * 40, history=history, max_tokens=100)
    finally:
        (tiny / "tokenizer.away").rename(tiny / "tokenizer.json")
    assert "".join(said) == script
    assert facts[tracing.PREFIX_CACHED_TOKENS] <= facts[tracing.PREFIX_ALLOWED_TOKENS]
    assert facts[tracing.LLM_PREFILL_MS] > 0
