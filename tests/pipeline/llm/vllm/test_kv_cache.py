"""The KV cache in vLLM's metrics and log: what is reserved, and the most that was used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm.vllm.kv_cache import CachePeak, CacheReading, parse_log_size_mib, parse_metrics

METRICS = """# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.125
vllm:cache_config_info{block_size="16",engine="0",kv_cache_memory_bytes="None",num_gpu_blocks="8192"} 1.0
"""


def test_metrics_contain_blocks_and_usage() -> None:
    """The size in bytes only where it was set."""
    assert parse_metrics(METRICS) == CacheReading(block_tokens=16, blocks=8192, reserved_mib=None, usage=0.125)
    assert parse_metrics(METRICS.replace('bytes="None"', 'bytes="2097152"')).reserved_mib == 2.0


def test_labels_with_special_characters_are_parsed() -> None:
    """A comma, a brace and an escaped quote in another label; of several usages the largest counts."""
    page = METRICS.replace('engine="0"', 'engine="0,}\\"{"') + 'vllm:kv_cache_usage_perc{engine="1"} 0.5\n'
    assert parse_metrics(page) == CacheReading(block_tokens=16, blocks=8192, reserved_mib=None, usage=0.5)


def test_another_page_is_an_empty_reading() -> None:
    """Other servers have other metrics, or a page that has none."""
    assert parse_metrics("<html>not found</html>") == CacheReading()


@pytest.mark.parametrize("line", ['usage_perc{engine="0" 1', "usage_perc{=", "usage_perc much", "usage_perc"])
def test_a_malformed_line_is_skipped(line: str) -> None:
    """It raises nothing in the task that reads the page, and the other lines count."""
    assert parse_metrics(f"vllm:kv_cache_{line}\n") == CacheReading()
    assert parse_metrics(f"vllm:kv_cache_{line}\n{METRICS}") == parse_metrics(METRICS)


@pytest.mark.parametrize(
    ("line", "mib"),
    [
        ("(EngineCore pid=3) INFO 11-22 11:42:05 [gpu_worker.py:759] Available KV cache memory: 24.5 GiB", 25088.0),
        ("INFO 11-22 11:42:05 [cpu_worker.py:262] Explicitly set (1.0/23.43) GiB for KV cache on node 0.", 1024.0),
        ("Auto set (0.5/23.43) GiB for KV cache on node 0, with 2 GiB requested memory for the worker.", 512.0),
        ("GPU KV cache size: 43,690 tokens, Maximum concurrency for 2,048 tokens per request: 21.33x", None),
    ],
)
def test_the_log_contains_the_size(line: str, mib: float | None) -> None:
    """On a GPU and on a CPU; a number of tokens is no size."""
    assert parse_log_size_mib(line) == mib


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(1, 1e5))
def test_the_peak_is_the_largest_usage_of_what_is_reserved(usages: list[float], reserved: float) -> None:
    """Whatever the order."""
    peak = CachePeak()
    for usage in usages:
        peak.add(CacheReading(usage=usage), reserved)
    cache = peak.kv_cache()
    assert cache is not None
    assert cache.reserved_mib == reserved
    assert cache.used_peak_mib == pytest.approx(max(usages) * reserved)


def test_without_a_size_or_a_usage_the_cache_is_not_known() -> None:
    """A size in the metrics is preferred to the rounded one in the log."""
    peak = CachePeak()
    peak.add(CacheReading(usage=0.5), None)
    assert peak.kv_cache() is None
    peak.add(CacheReading(reserved_mib=100.0), 99.0)
    cache = peak.kv_cache()
    assert cache is not None
    assert (cache.reserved_mib, cache.used_peak_mib) == (100.0, 50.0)
    empty = CachePeak()
    empty.add(CacheReading(reserved_mib=100.0), None)
    assert empty.kv_cache() is None
