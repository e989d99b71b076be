"""The comparison of stage times: what is promised of the differences, and servers that cannot be compared with."""

from __future__ import annotations

import pytest
from turngap_agent.errors import HarnessError
from turngap_agent.llm.vllm.engine import VllmChat

from benchmarks.vllm_stages import HISTOGRAMS, ComparedRequest, compare_request, describe, promises
from tests.pipeline.llm.vllm.builders import settings_for
from tests.pipeline.llm.vllm.fake_server import FakeServer


def compare(*differences_ms: float) -> ComparedRequest:
    span = dict.fromkeys(HISTOGRAMS, 20.0)
    vllm = {name: 20.0 - difference for name, difference in zip(HISTOGRAMS, differences_ms, strict=True)}
    return ComparedRequest(span, vllm, first_token_ms=50.0)


def test_the_largest_difference_of_each_time_counts() -> None:
    """Whatever its sign; over 5 ms the promise is broken."""
    comparisons = [compare(0.5, -1.0, 0.0), compare(-0.25, 0.5, 5.5)]
    assert [(one.value, one.holds) for one in promises(comparisons)] == [(0.5, True), (1.0, True), (5.5, False)]
    assert comparisons[1].largest_ms == 5.5
    assert "largest difference to vLLM's metrics 5.500" in describe(comparisons)


@pytest.mark.anyio
async def test_a_server_without_the_histograms_is_refused() -> None:
    """Nothing is compared with nothing."""
    async with FakeServer() as fake:
        engine = VllmChat(settings_for(fake.url))
        with pytest.raises(HarnessError, match="there is no vllm:request_queue_time_seconds_sum among"):
            await compare_request(engine, engine.metrics_url, 1)
        await engine.close()
