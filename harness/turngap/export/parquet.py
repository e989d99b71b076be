"""A run's turns as Parquet: the columns of the CSV, with types. Needs pyarrow."""

from __future__ import annotations

import importlib.util
import io

from turngap_agent.errors import UsageError

from turngap.store.folder import StoredRun


def render_parquet(run: StoredRun) -> bytes:
    """Return the file.

    Raises:
        UsageError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("--format parquet needs pyarrow: pip install 'turngap[parquet]'")
    from turngap.export.frame import make_turn_frame  # pandas takes half a second to import

    buffer = io.BytesIO()
    make_turn_frame(run.turns).to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()
