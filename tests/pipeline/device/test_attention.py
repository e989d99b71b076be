"""Projections that are fused once stay one matrix."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.attention import fuse_projections


def test_projections_are_fused_once() -> None:
    """A second network over the same weights takes no memory for them; other ones are not taken for fused."""
    rows = [torch.randn(3, 4), torch.randn(2, 4)]
    projections = [SimpleNamespace(weight=torch.nn.Parameter(one.clone())) for one in rows]
    fused = fuse_projections(*projections)
    again = fuse_projections(*projections)
    assert torch.equal(fused, torch.cat(rows))
    assert torch.equal(again, fused)
    assert again.data_ptr() == fused.data_ptr() == projections[0].weight.data_ptr()
    swapped = fuse_projections(*reversed(projections))
    assert torch.equal(swapped, torch.cat(rows[::-1]))
    assert swapped.data_ptr() != fused.data_ptr()
