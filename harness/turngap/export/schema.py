"""The JSON schema of `run.json`, which `turngap run --json` prints: `python -m turngap.export.schema`.

It is made from the models. Fields may be added in later versions, so that an unknown one is no error; none is removed
or gets another meaning while `schema_version` is 1.
"""

from __future__ import annotations

import json
from typing import Any

from turngap.model.result import SCHEMA_VERSION, RunRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema() -> dict[str, Any]:
    """Return the schema of a run's record."""
    schema = RunRecord.model_json_schema(mode="validation")
    _allow_more(schema)
    return {"$schema": DIALECT, "title": f"turngap run.json, schema_version {SCHEMA_VERSION}"} | {
        key: value for key, value in schema.items() if key != "title"
    }


def render_schema() -> str:
    """Return the schema as the published file has it."""
    return json.dumps(make_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _allow_more(node: object) -> None:
    """Remove what forbids further keys, everywhere in the schema."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        for value in node.values():
            _allow_more(value)
    elif isinstance(node, list):
        for value in node:
            _allow_more(value)


if __name__ == "__main__":
    print(render_schema(), end="")
