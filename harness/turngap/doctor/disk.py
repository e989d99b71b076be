"""The room on the disk of a folder that may not exist yet."""

from __future__ import annotations

import shutil
from pathlib import Path


def count_free_bytes(folder: Path) -> int:
    """Return the bytes free where the folder is, or would be made."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(existing).free
