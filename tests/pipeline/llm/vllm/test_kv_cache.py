"""The KV cache in vLLM's metrics and log: what is reserved, and the most that was used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm.vllm.kv_cache import Peak, Reading, read, taken_mib

METRICS = """# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.125
vllm:cache_config_info{block_size="16",engine="0",kv_cache_memory_bytes="None",num_gpu_blocks="8192"} 1.0
"""


def test_metrics_tell_blocks_and_usage() -> None:
    """The size in bytes only where it was set."""
    assert read(METRICS) == Reading(block_tokens=16, blocks=8192, reserved_mib=None, usage=0.125)
    assert read(METRICS.replace('bytes="None"', 'bytes="2097152"')).reserved_mib == 2.0


def test_a_page_without_them_tells_nothing() -> None:
    """Other servers have other metrics, or a page that is none."""
    assert read("<html>not found</html>") == Reading()


@pytest.mark.parametrize(
    ("line", "mib"),
    [
        ("(EngineCore pid=3) INFO 11-22 11:42:05 [gpu_worker.py:759] Available KV cache memory: 24.5 GiB", 25088.0),
        ("INFO 11-22 11:42:05 [cpu_worker.py:262] Explicitly set (1.0/23.43) GiB for KV cache on node 0.", 1024.0),
        ("Auto set (0.5/23.43) GiB for KV cache on node 0, with 2 GiB requested memory for the worker.", 512.0),
        ("GPU KV cache size: 43,690 tokens, Maximum concurrency for 2,048 tokens per request: 21.33x", None),
    ],
)
def test_the_log_tells_the_size(line: str, mib: float | None) -> None:
    """On a GPU and on a CPU; tokens are no size."""
    assert taken_mib(line) == mib


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(1, 1e5))
def test_the_peak_is_the_largest_usage_of_what_is_reserved(usages: list[float], reserved: float) -> None:
    """Whatever the order."""
    peak = Peak()
    for usage in usages:
        peak.saw(Reading(usage=usage), reserved)
    figures = peak.figures()
    assert figures is not None
    assert figures.reserved_mib == reserved
    assert figures.used_peak_mib == pytest.approx(max(usages) * reserved)


def test_nothing_is_claimed_without_a_size_or_a_usage() -> None:
    """A size in the metrics counts more than the rounded one in the log."""
    peak = Peak()
    peak.saw(Reading(usage=0.5), None)
    assert peak.figures() is None
    peak.saw(Reading(reserved_mib=100.0), 99.0)
    figures = peak.figures()
    assert figures is not None
    assert (figures.reserved_mib, figures.used_peak_mib) == (100.0, 50.0)
    empty = Peak()
    empty.saw(Reading(reserved_mib=100.0), None)
    assert empty.figures() is None
