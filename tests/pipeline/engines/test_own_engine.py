"""The worked example of docs/own-engine.md: a package of its own, installed, served and called."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from turngap_agent import profile
from turngap_agent.telephony import mulaw

pytestmark = pytest.mark.xdist_group("own-engine")

EXAMPLE = Path(__file__).parents[3] / "examples" / "turngap-engine-command"
TONE = """
import math, struct, sys
words = len(sys.stdin.read().split())
sys.stdout.buffer.write(HEADER)
for at in range(words * 1600):
    sys.stdout.buffer.write(struct.pack("<h", int(9000 * math.sin(at * 0.3))))
"""
"""Says a fifth of a second of a tone for each word, at 8 kHz."""


def test_the_page_shows_the_example_as_it_is() -> None:
    """Every block of Python and TOML before the section on parts is in the example's files, letter for letter."""
    page = (EXAMPLE.parents[1] / "docs" / "own-engine.md").read_text("utf-8").partition("## Parts")[0]
    blocks = re.findall(r"```(python|toml)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    files = [path.read_text("utf-8") for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    for _, block in blocks:
        assert any(block in text for text in files), block


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed into, from its sources and without the network."""
    pytest.importorskip("setuptools", reason="builds a package: pip install setuptools")
    folder = tmp_path_factory.mktemp("installed")
    sources = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("sources") / "example")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(folder), str(sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def write_profile(folder: Path, tts: dict[str, Any]) -> Path:
    """The scripted profile with these settings of the synthesiser."""
    path = folder / "mine.yaml"
    text = (profile.PROFILES / "scripted.yaml").read_text("utf-8")
    assert "tts: {engine: scripted}" in text
    path.write_text(text.replace("tts: {engine: scripted}", f"tts: {json.dumps(tts)}"))
    return path


@asynccontextmanager
async def agent(example_folder: Path, chosen: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m turngap_agent serve` with that profile, where the example is installed."""
    search = os.pathsep.join(filter(None, (str(example_folder), os.environ.get("PYTHONPATH"))))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turngap_agent", "serve", "--profile", str(chosen), "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": search},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.anyio
@pytest.mark.parametrize("header", [b"", b"RIFF" + bytes(40)])
async def test_the_example_answers_a_call(example_folder: Path, tmp_path: Path, pick_up: Any, header: bytes) -> None:
    """The agent names it in its ready line, and the caller hears what the program wrote, raw or as a WAV file."""
    command = [sys.executable, "-c", TONE.replace("HEADER", repr(header))]
    chosen = write_profile(tmp_path, {"engine": "command", "command": command, "sample_rate": 8000})
    async with agent(example_folder, chosen) as process:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        ready = json.loads(line)
        assert ready["models"]["tts"] == f"command {sys.executable}, 8,000 Hz"
        async with websockets.connect(ready["url"], max_queue=None) as socket:
            phone = pick_up(socket)
            await phone.begin()
            await phone.ask()
            _, audio = await phone.reply()
            await phone.hang_up()
        words = len(["Certainly,", "I", "can", "help", "you", "with", "that."])
        sound = mulaw.decode(audio)
        assert np.count_nonzero(np.abs(sound) > 500) / 8000 == pytest.approx(0.2 * words, rel=0.15)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, log = await process.communicate()
        assert process.returncode == 0, log.decode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tts", "facts"),
    [
        ({"engine": "command", "comand": ["x"]}, ("mine.yaml:", "unknown key `tts.comand`", "`command`")),
        ({"engine": "command", "command": ["/nowhere/speak"]}, ("tts: /nowhere/speak", "tts.command")),
        ({"engine": "command", "command": [sys.executable, "-c", "exit(3)"]}, ("tts: ", "exit code 3")),
        ({"engine": "comand"}, ("mine.yaml:", "`tts.engine`", "`command`")),
    ],
)
async def test_a_mistake_with_it_is_one_line(
    example_folder: Path, tmp_path: Path, tts: dict[str, Any], facts: tuple[str, ...]
) -> None:
    """As with engines that ship."""
    async with agent(example_folder, write_profile(tmp_path, tts)) as process:
        async with asyncio.timeout(60):
            out, log = await process.communicate()
        errors = [line for line in log.decode().splitlines() if line.startswith("turngap: error: ")]
        assert (out, len(errors), process.returncode in (2, 3)) == (b"", 1, True), log.decode()
        for fact in facts:
            assert fact in errors[0]


def test_a_machines_lack_is_reported_before_anything_is_fetched(example_folder: Path, tmp_path: Path) -> None:
    """`weights pull --here`, which a run does first, asks the engine's own declaration."""
    chosen = write_profile(tmp_path, {"engine": "command", "command": ["no-such-program"]})
    done = subprocess.run(
        [sys.executable, "-m", "turngap_agent", "weights", "pull", "--here", str(chosen)],
        env=os.environ | {"PYTHONPATH": str(example_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("turngap: error: tts: no-such-program is not installed; ")
