"""ONNX models on the CPU, for the endpointing and language model engines that use ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

_ERRORS_ONLY = 3


def open_session(model: Path | bytes, threads: int) -> Any:
    """Return an `onnxruntime.InferenceSession` that computes on `threads` threads; `model`: a file, or its bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return ort.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
