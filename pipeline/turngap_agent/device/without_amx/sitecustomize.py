"""Makes torch say that this machine has no AMX, in every Python process that has this folder in its PYTHONPATH.

Python imports a module of this name at its start. Nothing is imported here but Python's own modules: it also runs in
environments that have no turngap. See `turngap_agent.device.amx`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

_FOLDER = str(Path(__file__).resolve().parent)


def _say_no() -> bool:
    return False


class _PatchedLoader(importlib.abc.Loader):
    """Loads `torch.cpu` as its own loader does, then replaces its answers about AMX."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        self._loader.exec_module(module)
        module._is_amx_tile_supported = module._is_amx_fp16_supported = module._init_amx = _say_no


class _Finder(importlib.abc.MetaPathFinder):
    """Finds `torch.cpu` in torch's own folder."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != "torch.cpu":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchedLoader(spec.loader)
        return spec


def _run_hidden_sitecustomize() -> None:
    """Run the module of this name that this one hides, if the environment has one."""
    others = [entry for entry in sys.path if entry and str(Path(entry).resolve()) != _FOLDER]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _Finder())
_run_hidden_sitecustomize()
