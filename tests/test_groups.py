"""Tests that share an expensive fixture run on one worker: pytest and xdist have to agree on how groups are told."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("told")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there are no groups without workers (-n)")
def test_a_test_knows_its_group(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@told")
