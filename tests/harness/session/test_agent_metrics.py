"""Figures of an agent's Prometheus page, and pages without them."""

from __future__ import annotations

import pytest
from turngap.session import agent_metrics
from turngap_agent.tracing import LAG_GAUGE

PAGE = """# HELP turngap_event_loop_lag_p99_seconds Lateness.
# TYPE turngap_event_loop_lag_p99_seconds gauge
turngap_event_loop_lag_p99_seconds 0.0021
turngap_kv_cache_bytes{figure="reserved"} 1.073741824e+09
turngap_kv_cache_bytes{figure="used_at_peak"} 2.097152e+06
"""


def test_figures_are_read_by_name_and_label() -> None:
    """Bytes become MiB."""
    assert agent_metrics.parse_gauge(PAGE, LAG_GAUGE) == 0.0021
    cache = agent_metrics.parse_kv_cache(PAGE)
    assert cache is not None
    assert (cache.reserved_mib, cache.used_peak_mib) == (1024.0, 2.0)


def test_a_malformed_line_hides_no_other() -> None:
    """Before the gauge, of another metric or of the same."""
    for line in ("other{a= 1", "other 1 2 three", f"{LAG_GAUGE}{{a=", f"{LAG_GAUGE} much"):
        assert agent_metrics.parse_gauge(f"{line}\n{PAGE}", LAG_GAUGE) == 0.0021


@pytest.mark.parametrize(
    "page",
    ["", "<html>", PAGE.replace("1.073741824e+09", "NaN"), PAGE.replace("2.097152e+06", "much"), PAGE.split("used")[0]],
)
def test_a_missing_figure_is_unknown(page: str) -> None:
    """No page, another page, NaN, nonsense, and half of it."""
    assert agent_metrics.parse_kv_cache(page) is None
