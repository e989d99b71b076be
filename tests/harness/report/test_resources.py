"""The memory table: differences of one figure, which add up to the device's peak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.model.agent_figures import GpuFigures, KvCacheFigures
from turngap.report import resources

SIZES = st.floats(0, 60_000)


def gpu(before: float, peak: float) -> GpuFigures:
    return GpuFigures(name="NVIDIA H200", total_mib=143_771, used_peak_mib=peak, used_before_mib=before)


@given(before=SIZES, held=st.fixed_dictionaries(dict.fromkeys(("vad", "stt", "llm", "tts"), SIZES)), extra=SIZES)
def test_the_parts_add_up_to_the_peak(before: float, held: dict[str, float], extra: float) -> None:
    """Whatever was measured: the last row is the sum of those above it."""
    peak = before + sum(held.values()) + extra
    *parts, total = resources.memory_rows(held, gpu(before, peak))
    assert sum(row.reserved_gb or 0 for row in parts) == pytest.approx(total.reserved_gb, abs=1e-6)


def test_unreported_memory_is_unknown() -> None:
    """An agent at a URL: the engines' rows are empty, before and peak are there."""
    rows = resources.memory_rows({}, gpu(500, 1500))
    assert [row.reserved_gb is None for row in rows] == [False, *[True] * len(resources.PLAN), False, False]
    assert resources.accounted_share({}, gpu(500, 1500)) is None


def test_the_share_that_is_accounted_for() -> None:
    """Before and engines over the peak."""
    assert resources.accounted_share({"llm": 900.0}, gpu(50, 1000)) == pytest.approx(0.95)


@given(before=SIZES, weights=SIZES, cache=SIZES, share=st.floats(0, 1), extra=SIZES)
def test_what_was_used_at_peak_adds_up_too(
    before: float, weights: float, cache: float, share: float, extra: float
) -> None:
    """The part of the KV cache that no request held is left out of the engine's row and of the sum alone."""
    held = {"stt": 700.0, "llm": weights + cache}
    kv_cache = KvCacheFigures(reserved_mib=cache, used_peak_mib=share * cache)
    *parts, total = resources.memory_rows(held, gpu(before, before + sum(held.values()) + extra), kv_cache)
    assert sum(row.used_gb or 0 for row in parts) == pytest.approx(total.used_gb, abs=1e-6)
    idle = [(row.reserved_gb or 0) - (row.used_gb or 0) for row in (*parts, total)]
    lost = (1 - share) * cache / resources.MIB_PER_GB
    assert idle == pytest.approx([0, 0, 0, lost, 0, 0, 0, lost], abs=1e-6)


def test_a_cache_without_its_engine_is_taken_from_nothing() -> None:
    """An agent that does not say what its engines hold: the cache's idle part is in no row."""
    rows = resources.memory_rows({}, gpu(500, 1500), KvCacheFigures(reserved_mib=900, used_peak_mib=1))
    assert rows[-1].used_gb == rows[-1].reserved_gb
