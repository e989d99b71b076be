"""Settings and requests for the engine on vLLM, against the fake server."""

import sys
from pathlib import Path

from turngap_agent.llm import Request
from turngap_agent.llm.vllm.settings import Restart, VllmSettings

from tests.pipeline.llm.vllm.fake_server import MODEL

FAKE = Path(__file__).parent / "fake_server.py"
SYSTEM = " ".join(f"rule{number}" for number in range(40))


def settings_for(url: str | None = None, **more) -> VllmSettings:
    return VllmSettings(**{"engine": "vllm", "url": url, "model": MODEL, "system_prompt": SYSTEM, **more})


def supervised_settings(fault: str = "", **more) -> VllmSettings:
    """Settings that start the fake server as a process."""
    environment = {"FAKE_FAULT": fault, **more.pop("environment", {})}
    quick = {"restart": Restart(first_s=0.05, longest_s=0.2), "start_limit_s": 60}
    return settings_for(command=(sys.executable, str(FAKE)), environment=environment, **{**quick, **more})


def make_request(words: str = "Is anyone there?", call: str = "1", **more) -> Request:
    letters = " ".join(f"{call}{letter}" for letter in "ABCDEFGHIJKLMNOP")
    return Request(
        **{"call_block": f"{letters} is this call.", "history": (), "words": words, "max_tokens": 24, **more}
    )
