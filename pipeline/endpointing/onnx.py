"""A pinned ONNX model, ready to run on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime as ort

from pipeline import weights

_ERRORS_ONLY = 3


def session(model: str, threads: int) -> Any:
    """An `onnxruntime.InferenceSession` of the weights called `model`, on `threads` threads.

    Raises:
        WeightsError: they are not there and cannot be fetched.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return ort.InferenceSession(str(weights.get(model)), options, providers=["CPUExecutionProvider"])
