"""A language model that runs beside CSM: Gemma's loop, prefilling or decoding, in a thread or in another process.

`python -m benchmarks.speech.language_model_load DEVICE ARCHITECTURE` is the process. Each line on stdin is a kind of
work (`prefill`, `decode`, `rest`); it is repeated on stdout once that work has started. The process ends with stdin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
PROMPT_TOKENS = 512
DECODED_TOKENS = 32
POSITIONS = 1024
END_S = 20.0
"""How long the process may take to end; it is killed then, so that no measurement waits for it."""


class Kind(StrEnum):
    """A kind of work."""

    REST = "rest"
    PREFILL = "prefill"
    DECODE = "decode"


class LanguageModelLoad(Protocol):
    """A running language model whose kind of work can be switched."""

    def switch_to(self, kind: Kind) -> None:
        """Switch to a kind of work; return after its first piece is done."""
        ...


class LanguageModelWork:
    """The model, and one piece of each kind of work."""

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
        """Prefill a prompt or decode some tokens; return when the device is done."""
        with self.execution.activate():
            if kind is Kind.PREFILL:
                self._decoding.prefill(self._ids, 0)
                self.execution.record_event()()
            elif kind is Kind.DECODE:
                for _ in self._decoding.tokens(PROMPT_TOKENS, DECODED_TOKENS):
                    pass


class _ThreadLoad:
    """Repeats work of the current kind on its own thread."""

    def __init__(self, work: LanguageModelWork) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._kind: Kind | None = Kind.REST
        self._requested = self._started = 0
        """Number of switches requested, and the last of them whose first piece of work is done."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def switch_to(self, kind: Kind) -> None:
        with self._changed:
            request = self._set_kind(kind)
            self._changed.wait_for(lambda: self._started >= request or self._ended)
            if self._ended:
                raise RuntimeError("the language model failed; its error is above")

    def end(self) -> None:
        with self._changed:
            self._set_kind(None)
        self._thread.join()

    def _set_kind(self, kind: Kind | None) -> int:
        self._kind = kind
        self._requested += 1
        self._changed.notify_all()
        return self._requested

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    kind, request = self._kind, self._requested
                if kind is None:
                    return
                self._work.do(kind)
                with self._changed:
                    self._started = request
                    self._changed.notify_all()
                    if kind is Kind.REST:
                        while self._requested == request:
                            self._changed.wait()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


@contextmanager
def in_thread(device: str, architecture: str) -> Iterator[LanguageModelLoad]:
    """Run the language model in this process, on a CUDA stream of normal priority."""
    loop = _ThreadLoad(LanguageModelWork(device, architecture))
    try:
        yield loop
    finally:
        loop.end()


class _ProcessLoad:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def switch_to(self, kind: Kind) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{kind}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended: there is no answer either
        if self._process.stdout.readline().strip() != kind:
            raise RuntimeError("the language model's process failed; its error is above")


@contextmanager
def in_process(
    device: str, architecture: str, environment: Mapping[str, str] = os.environ
) -> Iterator[LanguageModelLoad]:
    """Run the language model in its own process, as vLLM is, with the given environment."""
    command = [sys.executable, "-m", "benchmarks.speech.language_model_load", device, architecture]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            load = _ProcessLoad(process)
            load.switch_to(Kind.REST)
            yield load
        finally:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # the process has ended
                process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main(arguments: list[str]) -> None:
    """Run the kinds of work that stdin lists."""
    with in_thread(*arguments) as load:
        for line in sys.stdin:
            load.switch_to(Kind(line.strip()))
            print(line.strip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
