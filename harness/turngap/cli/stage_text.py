"""A measured stage as lines for people; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAME = 16


def format_stage(document: Mapping[str, Any]) -> list[str]:
    """Return a stage's document as text; what is not known is said with its reason."""
    every = document["cadence_s"]
    how = "back to back" if every is None else f"{every[0]:g}-{every[1]:g} s apart"
    cold = document["cold_start_split_ms"]
    lines = [
        f"{document['stage']} of {document['profile']}: {document['engine']}",
        _line("units", f"{document['units']} ({document['unit']}), {how}, {len(document['inputs'])} inputs"),
        _line(
            "cold start",
            f"{document['cold_start_ms']:,.0f} ms: import {cold['import']:,.0f}, load {cold['load']:,.0f}, "
            f"first use {cold['first_use']:,.0f}",
        ),
        *_format_times(document),
        *_format_split(document),
        *_format_floor(document),
        *_format_process(document),
    ]
    if (beside := document.get("beside")) is not None:
        ratios = beside["times_alone"]
        lines.append(
            f"beside {', '.join(beside['engines'])}, in a {beside['in']}:"
            if beside["in"] != "mps"
            else f"beside {', '.join(beside['engines'])}, under MPS:"
        )
        lines += [
            f"  {line} ({ratios[name]['p50']:.2f} times alone)"
            if name in ratios and "p50" in ratios[name]
            else f"  {line}"
            for name, line in _times(beside)
        ]
        lines += [f"  {line}" for line in _format_split(beside)]
    lines += [_line("not known", f"{name}: {why}") for name, why in document["reasons"].items()]
    return lines


def _format_times(document: Mapping[str, Any]) -> list[str]:
    lines = [line for _, line in _times(document)]
    rtf = document["rtf"]
    return lines + ([_line("real-time factor", f"{rtf:.3f}")] if rtf is not None else [])


def _times(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each field of times with its line, in the document's order."""
    lines = []
    for name, figures in document.items():
        if isinstance(figures, Mapping) and "p50" in figures:
            interval = figures["p50_interval"]
            between = f" ({_ms(interval[0])} to {_ms(interval[1])})" if interval is not None else ""
            title = name.removesuffix("_ms").replace("_", " ")
            lines.append((name, _line(title, f"p50 {_ms(figures['p50'])}{between}, p95 {_ms(figures['p95'])} ms")))
    return lines


def _format_split(document: Mapping[str, Any]) -> list[str]:
    if document["split_ms"] is None:
        return []
    parts = ", ".join(f"{name.replace('_', ' ')} {_ms(value)}" for name, value in document["split_ms"].items())
    share = 100 * document["split_share"]
    return [_line("parts", f"{parts} ms: {share:.1f} % of {_ms(document['mean_ms'])} (means)")]


def _format_floor(document: Mapping[str, Any]) -> list[str]:
    floor = document.get("floor")
    if document["floor_ms"] is None or floor is None:
        return []
    lines = [
        _line(
            "floor",
            f"{_ms(document['floor_ms'])} ms, measured {document['distance_to_floor']:.1f} times that; "
            f"{floor['cache']}",
        )
    ]
    if (one := floor.get("one_thread")) is not None and floor["rates"]["threads"] > 1:
        lines.append(_line("", f"with one thread {_ms(one['ms'])} ms, with {floor['rates']['threads']} as above"))
    for name, part in floor["parts"].items():
        lines.append(
            _line(
                f"  {name.replace('_', ' ')}",
                f"{_ms(part['floor_ms'])} ms by {part['bound']}, measured {_ms(part['measured_ms'])} "
                f"({part['distance']:.1f} times): {part['bytes'] / 1e6:.1f} MB, {part['operations'] / 1e6:,.0f} M "
                "operations",
            )
        )
    return lines


def _format_process(document: Mapping[str, Any]) -> list[str]:
    memory, switches = document["memory_mib"], document["context_switches"]
    peak = f"{memory['peak']:,.0f}" if memory["peak"] is not None else "not known"
    lines = [
        _line(
            "memory",
            f"{memory['before']:,.0f} MiB before, loaded {memory['load']:,.0f}, steady {memory['steady']:,.0f}, "
            f"peak {peak}",
        )
    ]
    changed = (
        f", context switches {switches['voluntary']:,} voluntary, {switches['involuntary']:,} involuntary"
        if switches is not None
        else ""
    )
    if (on_gpu := document.get("gpu_memory_mib")) is not None:
        amounts = ", ".join(f"{name} {value:,.0f}" for name, value in on_gpu.items() if value is not None)
        lines.append(_line("GPU memory", f"MiB more than before: {amounts}"))
    lines.append(_line("process", f"{document['threads']} threads, {_ms(document['cpu_ms'])} ms CPU a unit{changed}"))
    return lines


def _line(title: str, text: str) -> str:
    return f"{title:<{_NAME}} {text}"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
