"""What a profile needs of this machine, as data: packages, a GPU, weights. Loads no engine and fetches nothing."""

from __future__ import annotations

import json

from turngap_agent import fitness, profile, weights
from turngap_agent.gpu import memory_plan
from turngap_agent.weights import cache


def print_readiness(name_or_path: str, overrides: tuple[str, ...]) -> int:
    """Print what the profile needs as one JSON object, and return the exit code.

    Keys: `profile`; `needs_gpu`; `problems`, a line each with its remedy; `weights`, of each model `name`, `size` in
    bytes, `licence`, `gated` (a login is needed to fetch it), `here` (whether it is cached) and `problem` (why a cached
    one cannot be used, else null); `cache`, the folder that holds them.

    Raises:
        ProfileError: there is no such profile, or it is malformed.
    """
    checked = profile.load(name_or_path, overrides)
    used = {settings.pinned_weights() for settings in checked.engines().values()}
    statuses = [status for status in weights.list_all() if status.pin.name in used]
    print(
        json.dumps(
            {
                "profile": checked.name,
                "needs_gpu": memory_plan.needs_gpu(checked),
                "problems": fitness.list_problems(checked),
                "weights": [
                    {
                        "name": status.pin.name,
                        "size": status.pin.size,
                        "licence": status.pin.licence,
                        "gated": status.pin.source.kind == "hub" and status.pin.source.gated,
                        "here": status.cached,
                        "problem": status.problem or None,
                    }
                    for status in statuses
                ],
                "cache": str(cache.root()),
            }
        )
    )
    return 0
