"""The engine at the URL of a server: what it asks, says, notes and refuses."""

import asyncio
from contextlib import aclosing

import pytest
from turngap_agent import tracing
from turngap_agent.errors import EngineError
from turngap_agent.llm import KvCache, Message
from turngap_agent.llm.vllm.engine import VllmChat
from turngap_agent.llm.vllm.server import free_port

from tests.pipeline.llm.vllm.builders import asked, settings_for, supervised
from tests.pipeline.llm.vllm.fake_server import REPLY, FakeServer

pytestmark = pytest.mark.anyio


async def said(engine: VllmChat, request=None) -> list[str]:
    return [piece async for piece in engine.reply(request or asked())]


async def noted(engine: VllmChat, **request) -> dict:
    facts = {}
    await said(engine, asked(note=facts.__setitem__, **request))
    return facts


async def test_it_replies_token_by_token() -> None:
    """After a warm-up that nobody hears."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        warm_ups = len(fake.requests)
        assert await said(engine) == REPLY
        await engine.close()
    assert warm_ups == 3
    assert {request["priority"] for request in fake.requests[:warm_ups]} == {1}
    assert "priority" not in fake.requests[-1]
    assert engine.describe() == f"vllm fake/model, at {fake.url}, at most 48 tokens"


async def test_the_servers_stage_times_are_noted() -> None:
    """Queue, prefill and decode of this request, as the server's own clock saw them."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        facts = await noted(engine)
        await engine.close()
    assert facts[tracing.LLM_QUEUE_MS] == 1.5
    assert facts[tracing.LLM_PREFILL_MS] == 20.0
    assert facts[tracing.LLM_DECODE_MS] == 30.25
    assert facts[tracing.LLM_PROMPT_TOKENS] > 60


async def test_prefix_hits_are_the_system_prompt_and_the_calls_own_history() -> None:
    """The same conversation in two calls: the second finds no more than the first; its own second turn does."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        calls = []
        for call in ("1", "2"):
            first = await noted(engine, words="Hello?", call=call)
            history = (Message("user", "Hello?"), Message("assistant", "".join(REPLY)))
            second = await noted(engine, words="Bye.", call=call, history=history)
            calls.append((first, second))
        await engine.close()
    hits = [[facts[tracing.PREFIX_CACHED_TOKENS] for facts in call] for call in calls]
    allowed = [[facts[tracing.PREFIX_ALLOWED_TOKENS] for facts in call] for call in calls]
    assert hits[0] == hits[1]
    assert hits[0][0] == 32  # 40 words of system prompt, in whole blocks of 16
    assert hits[0][1] > hits[0][0]
    assert allowed[0] == allowed[1]
    assert all(hit <= most for pair in zip(hits, allowed, strict=True) for hit, most in zip(*pair, strict=True))


async def test_hits_from_another_call_stand_out() -> None:
    """A cache that serves what a call cannot have put there gives more hits than are allowed."""
    async with FakeServer("leaks") as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        await noted(engine, call="1")
        facts = await noted(engine, call="2")
        await engine.close()
    assert facts[tracing.PREFIX_CACHED_TOKENS] > facts[tracing.PREFIX_ALLOWED_TOKENS]


async def test_closing_a_reply_aborts_it_at_the_server() -> None:
    """The connection closes, and not a word more is generated."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        fake.fault = "endless"
        async with aclosing(engine.reply(asked())) as pieces:
            await anext(pieces)
        async with asyncio.timeout(30):
            await fake.closed.wait()
        generated = fake.generated
        await asyncio.sleep(0)
        assert fake.generated == generated
        await engine.close()


@pytest.mark.parametrize("fault", ["http_500", "http_400", "truncated", "malformed", "error_event", "html"])
async def test_a_fault_costs_one_turn(fault: str) -> None:
    """The next reply is whole."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        await engine.warm_up()
        fake.fault = fault
        with pytest.raises(EngineError, match=r"^llm: "):
            await said(engine)
        fake.fault = ""
        assert await said(engine) == REPLY
        await engine.close()


async def test_random_weights_say_the_script() -> None:
    """A word a token, the tokens beyond it computed and not heard; the end of the text does not end the work."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, script="One moment, please.", ignore_eos=True))
        await engine.warm_up()
        assert await said(engine) == ["One", " moment,", " please."]
        await engine.close()
    assert fake.requests[-1]["max_tokens"] == 5


async def test_ids_stand_in_for_a_tokenizer() -> None:
    """Prompts of ids to `/v1/completions`, with the generated ids in the history of the next."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, script="One moment, please.", prompt="token_ids", ignore_eos=True))
        await engine.warm_up()
        await said(engine, asked("Hello?"))
        history = (Message("user", "Hello?"), Message("assistant", "One moment, please."))
        await said(engine, asked("Bye.", history=history))
        await engine.close()
    first, second = (request["prompt"] for request in fake.requests[-2:])
    assert fake.routes[-1] == "/v1/completions"
    assert second[: len(first)] == first
    assert second[len(first) : len(first) + 5] == [100, 101, 102, 103, 104]


async def test_the_cache_is_looked_at_in_each_longer_reply() -> None:
    """The most that was seen stands; a reply that is over before its tenth token asks nothing."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url, ignore_eos=True))
        assert engine.kv_cache() is None
        await engine.warm_up()
        assert engine.kv_cache() == KvCache(100.0, 0.0)
        for usage in (0.25, 0.5, 0.125):
            fake.usage = usage
            fake.metrics_read.clear()
            await said(engine)
            async with asyncio.timeout(30):
                await fake.metrics_read.wait()
                await engine._look
        looked = engine._look
        await said(engine, asked(max_tokens=9))
        assert engine._look is looked
        await engine.close()
    assert engine.kv_cache() == KvCache(100.0, 50.0)


async def test_a_model_that_is_not_served_is_named() -> None:
    """With those that are."""
    async with FakeServer(model="other") as fake:
        engine = VllmChat(settings_for(fake.url))
        with pytest.raises(EngineError, match=r"^llm: \S+ serves other, not fake/model; correct llm\.model$"):
            await engine.warm_up()
        await engine.close()


async def test_a_url_with_no_openai_server_is_refused() -> None:
    """Whether nobody or somebody else answers."""
    async with FakeServer("no_openai") as fake:
        engine = VllmChat(settings_for(fake.url))
        with pytest.raises(EngineError, match=r"^llm: .*is no OpenAI server"):
            await engine.warm_up()
        await engine.close()
    engine = VllmChat(settings_for(f"http://127.0.0.1:{free_port('127.0.0.1')}/v1"))
    with pytest.raises(EngineError, match=r"^llm: nothing answers at"):
        await engine.warm_up()
    await engine.close()


async def test_without_vllm_the_remedy_is_named() -> None:
    """Before anything else is tried."""
    with pytest.raises(EngineError, match=r"no-such-vllm is not installed; run `pip install 'turngap\[gpu\]'`"):
        VllmChat(settings_for(command=("no-such-vllm", "serve")))


async def test_a_taken_port_is_refused() -> None:
    """Else another server's health would pass for ours."""
    async with FakeServer() as fake:
        with pytest.raises(EngineError, match=rf"port {fake.port} cannot be used .*llm\.port"):
            VllmChat(supervised(port=fake.port))


async def test_a_folder_that_is_not_there_is_refused() -> None:
    """Before a minute is spent on it."""
    with pytest.raises(EngineError, match=r"^llm: /no/such/model: no such folder; correct llm\.model$"):
        VllmChat(supervised(model="/no/such/model"))
