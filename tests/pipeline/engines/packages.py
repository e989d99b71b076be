"""Small installed packages for tests, each with entry points of the group `turngap_agent.engines`."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap_agent.engines import registry

MINE = """
from typing import Literal
from turngap_agent.engines import SttSettings

class MineSettings(SttSettings):
    engine: Literal["mine"]
    beams: int = 1

    def build(self):
        raise NotImplementedError
"""


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str = MINE,
    *,
    package: str = "my-engines",
    module: str = "my_engines",
    name: str = "mine",
    attribute: str = "MineSettings",
) -> None:
    """Make `folder` importable, with a package that offers the engine `name` as `module:attribute`."""
    information = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {module}:{attribute}\n")
    (folder / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    registry._entry_points.cache_clear()
