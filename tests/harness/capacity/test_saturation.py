"""Signs of saturation, and when they end a capacity run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turngap.capacity.points import Sign, SignKind
from turngap.capacity.resources import read_resources
from turngap.capacity.saturation import Resources, find_signs, is_saturated
from turngap.model.agent_figures import KvCacheFigures

IDLE = Resources(cores=2, busy_share=0.4, agent_cores=0.5)
STEADY_MS = list(400 + np.random.default_rng(1).normal(0, 20, 60))


def kinds(signs: tuple[Sign, ...]) -> set[SignKind]:
    return {sign.kind for sign in signs}


def test_an_idle_machine_shows_nothing() -> None:
    """Steady gaps, nothing refused, free cores."""
    assert find_signs(STEADY_MS, 0, 60, IDLE, steady=True) == ()


def test_a_gap_that_grows_under_the_same_load_is_a_queue() -> None:
    """Under a load that changes it is not."""
    growing = [gap + 10 * place for place, gap in enumerate(STEADY_MS)]
    assert kinds(find_signs(growing, 0, 60, IDLE, steady=True)) == {SignKind.QUEUE}
    assert find_signs(growing, 0, 60, IDLE, steady=False) == ()
    shrinking = list(reversed(growing))
    assert find_signs(shrinking, 0, 60, IDLE, steady=True) == ()


@pytest.mark.parametrize(
    ("resources", "kind", "text"),
    [
        (Resources(cores=2, busy_share=0.97, agent_cores=1.7), SignKind.CORES, "97% of the time of 2 cores"),
        (Resources(cores=2, gpu_share=0.99), SignKind.GPU, "99% of the time"),
        (
            Resources(cores=2, kv_cache=KvCacheFigures(reserved_mib=100, used_peak_mib=96)),
            SignKind.KV_CACHE,
            "96 of 100",
        ),
    ],
)
def test_what_is_full_is_told(resources: Resources, kind: SignKind, text: str) -> None:
    """Cores, GPU and KV cache, each with its figure."""
    (sign,) = find_signs(STEADY_MS, 0, 60, resources, steady=True)
    assert sign.kind is kind
    assert text in sign.text


def test_refused_calls_are_told_and_end_it_from_5_percent_on() -> None:
    """A single one is told."""
    signs = find_signs(STEADY_MS, 1, 60, IDLE, steady=True)
    assert kinds(signs) == {SignKind.REFUSED}
    assert not is_saturated(signs, 1, 60, 450.0, 440.0)
    assert is_saturated(signs, 6, 60, 450.0, 440.0)


def test_full_cores_alone_do_not_end_it() -> None:
    """Only where callers notice: p95 twice that of the lowest load, or among turns without an answer."""
    signs = (Sign(kind=SignKind.CORES, text=""),)
    assert not is_saturated(signs, 0, 60, 600.0, 450.0)
    assert is_saturated(signs, 0, 60, 900.0, 450.0)
    assert is_saturated(signs, 0, 60, None, 450.0)
    assert not is_saturated((), 0, 60, 2000.0, 450.0)


def test_resources_are_read_from_the_samplers_files(tmp_path: Path) -> None:
    """Within the time of the load alone; rows of other GPUs, torn rows and missing files change nothing."""
    (tmp_path / "process.csv").write_text(
        "at_s,cpu_percent,rss_mib,cpu_s,ours_cpu_s,machine_cpu_s,stolen_cpu_s\n"
        "9,0,1,0,0,100,0\n10,0,1,1,0,200,0\n12,0,1,4,0,203,0\n13,0,1,9,0,900,0\n14,0,1"
    )
    (tmp_path / "gpu.csv").write_text("at_s,gpu,utilisation_pct\n10,0,90\n11,0,100\n11,1,5\n12,0,\n40,0,0\n")
    read = read_resources(tmp_path, 10, 12, gpu=0, kv=None)
    assert read.agent_cores == pytest.approx(1.5)
    assert read.busy_share == pytest.approx(min(1.0, 1.5 / read.cores))
    assert read.gpu_share == pytest.approx(0.95)
    assert read_resources(tmp_path, 10, 12, gpu=None, kv=None).gpu_share is None
    nothing = read_resources(tmp_path / "nowhere", 10, 12, gpu=0, kv=None)
    assert (nothing.busy_share, nothing.agent_cores, nothing.gpu_share) == (None, None, None)
