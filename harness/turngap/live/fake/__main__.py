"""The fake Twilio as a process: `python -m turngap.live.fake`, with its settings as JSON on one line of stdin."""

from __future__ import annotations

import asyncio
import json
import sys

from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.live.fake.rest_api import FakeTwilio
from turngap.live.fake.settings import FakeSettings
from turngap.live.server import open_listener, serve_app


async def _serve(settings: FakeSettings) -> None:
    clock = SystemClock()
    async with Scheduler(clock).running() as scheduler:
        fake = FakeTwilio(settings, clock=clock, scheduler=scheduler)
        with open_listener("127.0.0.1", 0) as listener:
            async with serve_app(fake.app(), listener):
                port = listener.getsockname()[1]
                print(json.dumps({"event": "ready", "api": f"http://127.0.0.1:{port}"}), flush=True)
                await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
                await fake.close()


def main() -> None:
    """Serve until stdin is closed."""
    settings = FakeSettings.model_validate_json(sys.stdin.readline())
    with raised_priority():
        asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
