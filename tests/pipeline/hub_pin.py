"""A `weights.toml` with one small entry on a local double of the hub, for tests of the cache around it."""

from __future__ import annotations

import hashlib
from pathlib import Path

CONTENT = b"model" * 2000
URL_PATH = f"/org/tiny/resolve/{'c' * 40}/model.bin"


def write(folder: Path, content: bytes = CONTENT) -> Path:
    """Write the pins of an entry `tiny`, one file with `content`."""
    path = folder / "weights.toml"
    path.write_text(f"""
[tiny]
about = "a small model"
version = "1"
licence = "MIT"
file = "model.bin"
files = [{{ from = "model.bin", to = "model.bin", size = {len(content)}, sha256 = "{_sha256(content)}" }}]
source = {{ kind = "hub", repo = "org/tiny", revision = "{"c" * 40}" }}
""")
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
