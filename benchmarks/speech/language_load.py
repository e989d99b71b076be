"""A language model that works beside CSM: Gemma's loop, taking prompts in or decoding, in a thread or another process.

`python -m benchmarks.speech.language_load DEVICE ARCHITECTURE` is the process: a word a line on stdin says what to do
(`prefill`, `decode`, `rest`), and each is answered by a line on stdout once it is being done; it ends with stdin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
PROMPT_TOKENS = 512
DECODED_TOKENS = 32
POSITIONS = 1024


class Kind(StrEnum):
    """What it does."""

    REST = "rest"
    PREFILL = "prefill"
    DECODE = "decode"


class Load(Protocol):
    """A language model that does as it is told."""

    def turn_to(self, kind: Kind) -> None:
        """Do that from now on; returns when it is being done, after a first piece of it."""
        ...


class Work:
    """The model, and a piece of each kind of its work."""

    def __init__(self, device: str, architecture: str) -> None:
        import torch
        from turngap_agent.device.execution import Execution, Mode
        from turngap_agent.llm.gemma import architectures
        from turngap_agent.llm.gemma.decoding import Decoding, cache_places
        from turngap_agent.llm.gemma.network import Gemma

        place = torch.device(device)
        cuda = place.type == "cuda"
        config = architectures.ARCHITECTURES[architecture]()
        network = architectures.build(config, place, torch.bfloat16 if cuda else torch.float32)
        self.execution = Execution(place, Mode.GRAPHS if cuda else Mode.EAGER, priority="normal")
        gemma = Gemma(network, cache_places(POSITIONS))
        with self.execution.activate():
            self._decoding = Decoding(gemma, self.execution, POSITIONS)
        self._ids = [index % config.vocab_size for index in range(PROMPT_TOKENS)]

    def do(self, kind: Kind) -> None:
        """A prompt taken in, or some tokens after it; returns when the device is done."""
        with self.execution.activate():
            if kind is Kind.PREFILL:
                self._decoding.prefill(self._ids, 0)
                self.execution.record_event()()
            elif kind is Kind.DECODE:
                for _ in self._decoding.tokens(PROMPT_TOKENS, DECODED_TOKENS):
                    pass


class _Loop:
    """Does the work of a kind again and again, on a thread of its own."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._kind: Kind | None = Kind.REST
        self._asked = self._begun = 0
        """How often it was told what to do, and up to which of these it has done a first piece."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def turn_to(self, kind: Kind) -> None:
        with self._changed:
            asked = self._tell(kind)
            self._changed.wait_for(lambda: self._begun >= asked or self._ended)
            if self._ended:
                raise RuntimeError("the language model failed; its error is above")

    def end(self) -> None:
        with self._changed:
            self._tell(None)
        self._thread.join()

    def _tell(self, kind: Kind | None) -> int:
        self._kind = kind
        self._asked += 1
        self._changed.notify_all()
        return self._asked

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    kind, asked = self._kind, self._asked
                if kind is None:
                    return
                self._work.do(kind)
                with self._changed:
                    self._begun = asked
                    self._changed.notify_all()
                    if kind is Kind.REST:
                        while self._asked == asked:
                            self._changed.wait()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


@contextmanager
def in_thread(device: str, architecture: str) -> Iterator[Load]:
    """In this process, on a stream of normal priority."""
    loop = _Loop(Work(device, architecture))
    try:
        yield loop
    finally:
        loop.end()


class _Told:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def turn_to(self, kind: Kind) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{kind}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: there is no answer either
        if self._process.stdout.readline().strip() != kind:
            raise RuntimeError("the language model's process failed; its error is above")


@contextmanager
def in_process(device: str, architecture: str, environment: Mapping[str, str] = os.environ) -> Iterator[Load]:
    """In a process of its own, as vLLM is, with that environment."""
    command = [sys.executable, "-m", "benchmarks.speech.language_load", device, architecture]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdin=pipe, stdout=pipe, text=True) as process:
        told = _Told(process)
        told.turn_to(Kind.REST)
        yield told
        assert process.stdin is not None
        process.stdin.close()


def main(arguments: list[str]) -> None:
    """Do as stdin says."""
    with in_thread(*arguments) as load:
        for line in sys.stdin:
            load.turn_to(Kind(line.strip()))
            print(line.strip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
