"""Reads an agent's Prometheus page: the lag of its event loop, and its language model's KV cache."""

from __future__ import annotations

import asyncio
import contextlib
import math
import urllib.request

from prometheus_client.parser import text_string_to_metric_families
from turngap_agent.tracing import KV_CACHE_GAUGE, KV_RESERVED, KV_USED_PEAK, LAG_GAUGE

from turngap.model.agent_figures import AgentFigures, KvCacheFigures
from turngap.processes.agent import RunningAgent

TIMEOUT_S = 2.0
LARGEST_PAGE = 4 << 20
"""Bytes of a page of metrics that are read: an agent may send one without end."""
_MIB = 1 << 20


async def read_metrics(agent: RunningAgent, figures: AgentFigures) -> AgentFigures:
    """Return `figures` with what the agent's page says now; a figure that is not on the page is None."""
    page = ""
    if agent.ready.http is not None:
        with contextlib.suppress(OSError, ValueError):
            page = await asyncio.to_thread(_fetch, f"{agent.ready.http}/metrics")
    lag_s = parse_gauge(page, LAG_GAUGE)
    return figures.model_copy(
        update={"loop_lag_p99_ms": None if lag_s is None else lag_s * 1e3, "kv_cache": parse_kv_cache(page)}
    )


def parse_kv_cache(page: str) -> KvCacheFigures | None:
    """Return the figures of the KV cache; None where the page lacks one of them."""
    reserved = parse_gauge(page, KV_CACHE_GAUGE, KV_RESERVED)
    used = parse_gauge(page, KV_CACHE_GAUGE, KV_USED_PEAK)
    if reserved is None or used is None:
        return None
    return KvCacheFigures(reserved_mib=reserved / _MIB, used_peak_mib=used / _MIB)


def parse_gauge(page: str, name: str, figure: str | None = None) -> float | None:
    """Return a gauge's value, of the sample whose label `figure` has that value.

    None where the page has no such sample, or its value is NaN. Malformed lines are skipped.
    """
    for line in page.splitlines():
        if not line.startswith(name):
            continue
        with contextlib.suppress(ValueError, IndexError):  # the parser raises either
            for family in text_string_to_metric_families(f"{line}\n"):
                for sample in family.samples:
                    if sample.name == name and (figure is None or sample.labels.get("figure") == figure):
                        return None if math.isnan(sample.value) else float(sample.value)
    return None


def _fetch(url: str) -> str:
    # A proxy from the user's environment must not come between two processes of one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as response:
        content: bytes = response.read(LARGEST_PAGE)
        return content.decode("utf-8", "replace")
