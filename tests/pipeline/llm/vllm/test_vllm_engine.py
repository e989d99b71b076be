"""The engine at the URL of a server: its requests, replies, reported facts and errors."""

import asyncio
from contextlib import aclosing

import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm import KvCache, Message
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.server import find_free_port

from tests.pipeline.llm.vllm.builders import make_request, settings_for, supervised_settings
from tests.pipeline.llm.vllm.fake_server import REPLY, FakeServer

pytestmark = pytest.mark.anyio


async def reply_pieces(engine: VllmChat, request=None) -> list[str]:
    return [piece async for piece in engine.reply(request or make_request())]


async def reported_facts(engine: VllmChat, **request) -> dict:
    facts = {}
    await reply_pieces(engine, make_request(set_attribute=facts.__setitem__, **request))
    return facts


async def test_it_replies_token_by_token() -> None:
    """After the warm-up, which has replies of its own."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        warm_ups = len(fake.requests)
        assert await reply_pieces(engine) == REPLY
        await engine.close()
    assert warm_ups == 3
    assert {request["priority"] for request in fake.requests[:warm_ups]} == {1}
    assert "priority" not in fake.requests[-1]
    assert engine.describe() == f"vllm fake/model, at {fake.url}, at most 48 tokens"


async def test_the_servers_stage_times_are_reported_facts() -> None:
    """Queue, prefill and decode of this request, measured by the server's clock."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        facts = await reported_facts(engine)
        await engine.close()
    assert facts[tracing.LLM_QUEUE_MS] == 1.5
    assert facts[tracing.LLM_PREFILL_MS] == 20.0
    assert facts[tracing.LLM_DECODE_MS] == 30.25
    assert facts[tracing.LLM_PROMPT_TOKENS] > 60


async def test_prefix_hits_are_the_system_prompt_and_the_calls_own_history() -> None:
    """The same conversation in two calls: the second is served no more than the first; second turns are served more."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        calls = []
        for call in ("1", "2"):
            first = await reported_facts(engine, words="Hello?", call=call)
            history = (Message("user", "Hello?"), Message("assistant", "".join(REPLY)))
            second = await reported_facts(engine, words="Bye.", call=call, history=history)
            calls.append((first, second))
        await engine.close()
    hits = [[facts[tracing.PREFIX_CACHED_TOKENS] for facts in call] for call in calls]
    allowed = [[facts[tracing.PREFIX_ALLOWED_TOKENS] for facts in call] for call in calls]
    assert hits[0] == hits[1]
    assert hits[0][0] == 32  # 40 words of system prompt, in whole blocks of 16
    assert hits[0][1] > hits[0][0]
    assert allowed[0] == allowed[1]
    assert all(hit <= most for pair in zip(hits, allowed, strict=True) for hit, most in zip(*pair, strict=True))


async def test_hits_from_another_call_exceed_what_is_allowed() -> None:
    """With a cache that serves what the call cannot have put there."""
    async with FakeServer("leaks") as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        await reported_facts(engine, call="1")
        facts = await reported_facts(engine, call="2")
        await engine.close()
    assert facts[tracing.PREFIX_CACHED_TOKENS] > facts[tracing.PREFIX_ALLOWED_TOKENS]


async def test_closing_a_reply_aborts_it_at_the_server() -> None:
    """The connection closes, and the server ends the request."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        fake.fault = "endless"
        async with aclosing(engine.reply(make_request())) as pieces:
            await anext(pieces)
        async with asyncio.timeout(30):
            await fake.closed.wait()
        await engine.close()
    assert fake.closed_by_client == 1
    assert not fake.tasks


@pytest.mark.parametrize("fault", ["http_500", "http_400", "truncated", "malformed", "error_event", "html"])
async def test_a_failed_reply_costs_one_turn(fault: str) -> None:
    """The next reply is complete."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        fake.fault = fault
        with pytest.raises(EngineError, match=r"^llm: "):
            await reply_pieces(engine)
        fake.fault = ""
        assert await reply_pieces(engine) == REPLY
        await engine.close()


async def test_random_weights_reply_with_the_script() -> None:
    """A word a token; the tokens after it are computed and have no text; an end token does not end the work."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, script="One moment, please.", ignore_eos=True))
        await engine.warm_up()
        assert await reply_pieces(engine) == ["One", " moment,", " please."]
        await engine.close()
    assert fake.requests[-1]["max_tokens"] == 5


async def test_ids_replace_a_tokenizer() -> None:
    """Prompts of ids to `/v1/completions`, with the generated ids in the history of the next."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, script="One moment, please.", prompt="token_ids", ignore_eos=True))
        await engine.warm_up()
        await reply_pieces(engine, make_request("Hello?"))
        history = (Message("user", "Hello?"), Message("assistant", "One moment, please."))
        await reply_pieces(engine, make_request("Bye.", history=history))
        await engine.close()
    first, second = (request["prompt"] for request in fake.requests[-2:])
    assert fake.routes[-1] == "/v1/completions"
    assert second[: len(first)] == first
    assert second[len(first) : len(first) + 5] == [100, 101, 102, 103, 104]


async def test_the_cache_is_read_in_each_longer_reply() -> None:
    """The largest reading counts; a reply that ends before its tenth token reads nothing."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, ignore_eos=True))
        assert engine.kv_cache() is None
        await engine.warm_up()
        assert engine.kv_cache() == KvCache(100.0, 0.0)
        for usage in (0.25, 0.5, 0.125):
            fake.usage = usage
            fake.metrics_read.clear()
            await reply_pieces(engine)
            async with asyncio.timeout(30):
                await fake.metrics_read.wait()
                await engine._cache_read
        last_read = engine._cache_read
        await reply_pieces(engine, make_request(max_tokens=9))
        assert engine._cache_read is last_read
        await engine.close()
    assert engine.kv_cache() == KvCache(100.0, 50.0)


async def test_a_model_that_is_not_served_is_named() -> None:
    """With those that are served."""
    async with FakeServer(model="other") as fake:
        engine = VllmChat(settings_for(fake.url))
        with pytest.raises(EngineError, match=r"^llm: \S+ serves other, not fake/model; correct llm\.model$"):
            await engine.warm_up()
        await engine.close()


async def test_a_url_without_an_openai_server_is_an_error() -> None:
    """Whether another server answers or none."""
    async with FakeServer("no_openai") as fake:
        engine = VllmChat(settings_for(fake.url))
        with pytest.raises(EngineError, match=r"^llm: .*no OpenAI server"):
            await engine.warm_up()
        await engine.close()
    engine = VllmChat(settings_for(f"http://127.0.0.1:{find_free_port('127.0.0.1')}/v1"))
    with pytest.raises(EngineError, match=r"^llm: nothing answers at"):
        await engine.warm_up()
    await engine.close()


async def test_without_vllm_the_remedy_is_named() -> None:
    """Before anything is started."""
    with pytest.raises(EngineError, match=r"no-such-vllm is not installed; run `pip install 'turngap\[gpu\]'`"):
        VllmChat(settings_for(command=("no-such-vllm", "serve")))


async def test_a_taken_port_is_an_error() -> None:
    """Otherwise another server's health check would pass for ours."""
    async with FakeServer() as fake:
        with pytest.raises(EngineError, match=rf"port {fake.port} cannot be used .*llm\.port"):
            VllmChat(supervised_settings(port=fake.port))


async def test_a_missing_folder_is_an_error() -> None:
    """Before vLLM is started."""
    with pytest.raises(EngineError, match=r"^llm: .*/no/such/model .*llm\.model$"):
        VllmChat(supervised_settings(model="/no/such/model"))
