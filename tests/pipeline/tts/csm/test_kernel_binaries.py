"""The kernels compile for the cards that the profiles are for, which needs no GPU: to machine code, by Triton."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("triton", reason="torch installs it on Linux")

PROGRAM = """
import json
import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from turngap_agent.tts.csm import depth_kernel, kernels

# Of CSM-1B, in bf16: the depth decoder's attention, heads and widths.
P, I64 = "*bf16", "*i64"
DEPTH = {
    "LAYERS": 4, "CODEBOOKS": 32, "HIDDEN": 1024, "BACKBONE": 2048, "INNER": 8192, "HEADS": 8, "KV_HEADS": 2,
    "DIM": 128, "PLACES": 32, "CODES": 2048, "NOISE": 64, "BLOCK_HIDDEN": 1024, "BLOCK_CODES": 2048, "RANKS": 64,
    "ROWS": 4, "COLUMNS": 1024, "BLOCK_PLACES": 32, "PROGRAMS": 132,
}
# A sort of as many codes as CSM-1B has takes a minute to compile.
codes = json.loads(sys.argv[1])
DEPTH |= {"BLOCK_CODES": codes["BLOCK"], "RANKS": codes["RANKS"]}
CASES = {
    "sample": (kernels._sample_kernel, [P, "*fp32", I64, "i32", "fp32", "i32"], codes, {}),
    "attend": (
        kernels._attend_kernel, [P, P, P, P, P, I64, P, "fp32"],
        {"HEADS": 32, "KV_HEADS": 8, "PLACES": 2560, "DIM": 64, "BLOCK": 64}, {},
    ),
    "multiply": (
        kernels._multiply_kernel, [P, "*i8", "*fp32", P, "i32"], {"COLUMNS": 1024, "ROWS": 8, "BLOCK": 512}, {},
    ),
    "depth": (
        depth_kernel._decode_kernel,
        [I64, I64, P, P, P, P, P, P, P, I64, "*fp32", I64, P, P, P, P, P, "*i32"]
        + ["i32", "fp32", "i32", "i32", "fp32", "fp32"],
        DEPTH, {"num_warps": 8, "launch_cooperative_grid": True},
    ),
}
for name, (kernel, types, constants, options) in CASES.items():
    arguments = kernel.arg_names
    signature = dict(zip(arguments, types + ["constexpr"] * len(constants), strict=True))
    assert set(constants) == set(arguments[len(types):]), name
    for capability in (80, 90):
        built = compile(
            ASTSource(kernel, signature, constexprs=constants),
            target=GPUTarget("cuda", capability, 32),
            options={"enable_fp_fusion": False, **options},
        )
        code, text = built.asm["cubin"], built.asm["ptx"]
        assert len(code) > 1000, name
        assert f".target sm_{capability}" in text, name
        assert "fma.rn.f32" not in text, name  # products and sums are rounded one by one, as torch's
        print(name, capability, len(code), built.metadata.shared)
"""


SMALL, WHOLE = {"BLOCK": 128, "RANKS": 8}, {"BLOCK": 2048, "RANKS": 64}


@pytest.mark.parametrize("codes", [SMALL, pytest.param(WHOLE, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_every_kernel_compiles_for_an_a100_and_an_h200(tmp_path: Path, codes: dict[str, int]) -> None:
    """In the sizes of CSM-1B (the sort of its codes in the slow case), and with no fused multiply-add.

    Within the memory that a multiprocessor shares: 163 KiB on an A100.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-c", PROGRAM, json.dumps(codes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    built = [line.split() for line in done.stdout.splitlines()]
    assert [(name, capability) for name, capability, *_ in built] == [
        (name, capability) for name in ("sample", "attend", "multiply", "depth") for capability in ("80", "90")
    ]
    assert all(int(shared) < 160 * 1024 for *_, shared in built)
