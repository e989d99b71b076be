"""The oldest versions that pyproject.toml allows can be installed together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

EXTRAS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize("extra", ["cpu", "csm"])
def test_tokenizers_is_one_that_allows_the_hub_library_of_its_extra(extra: str) -> None:
    """Up to 0.22.0 it requires huggingface-hub<1.0, from 0.22.1 on <2.0; the extra wants 1 or newer."""
    wanted = {one.name: one.specifier for one in map(Requirement, EXTRAS[extra])}
    assert not wanted["huggingface-hub"].contains("0.36.0")
    assert not wanted["tokenizers"].contains("0.22.0")
    assert wanted["tokenizers"].contains("0.22.1")
