"""What an agent says of itself on its Prometheus page: its event loop's lag, and its language model's KV cache."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.error
import urllib.request

from turngap_agent.tracing import KV_CACHE_GAUGE, KV_RESERVED, KV_USED_PEAK, LAG_GAUGE

from turngap.model.agent_figures import AgentFigures, KvCacheFigures
from turngap.processes.agent import Agent

_MIB = 1 << 20


async def asked(agent: Agent, known: AgentFigures) -> AgentFigures:
    """`known` with what the agent's page says now; None for each figure that it does not tell."""
    page = ""
    if agent.ready.http is not None:
        with contextlib.suppress(OSError, ValueError, urllib.error.URLError):
            page = await asyncio.to_thread(_get, f"{agent.ready.http}/metrics")
    lag_s = gauge(page, LAG_GAUGE)
    return known.model_copy(
        update={"loop_lag_p99_ms": None if lag_s is None else lag_s * 1e3, "kv_cache": kv_cache(page)}
    )


def kv_cache(page: str) -> KvCacheFigures | None:
    """The KV cache; None where the page does not tell of one."""
    reserved = gauge(page, KV_CACHE_GAUGE, KV_RESERVED)
    used = gauge(page, KV_CACHE_GAUGE, KV_USED_PEAK)
    if reserved is None or used is None:
        return None
    return KvCacheFigures(reserved_mib=reserved / _MIB, used_peak_mib=used / _MIB)


def gauge(page: str, name: str, figure: str = "") -> float | None:
    """A gauge's value, of the line whose label `figure` has that value; None where there is none, or it is NaN."""
    labels = rf'\{{[^}}]*\bfigure="{figure}"[^}}]*\}}' if figure else r"(?:\{[^}]*\})?"
    found = re.search(rf"^{name}{labels} (\S+)$", page, re.MULTILINE)
    try:
        value = float(found[1]) if found else float("nan")
    except ValueError:
        return None
    return value if value == value else None


def _get(url: str) -> str:
    # The user's proxy has no business between two processes of one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2.0) as answer:
        text: str = answer.read().decode("utf-8", "replace")
        return text
