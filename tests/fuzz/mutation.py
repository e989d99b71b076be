"""Makes hostile inputs of valid ones: bytes are turned over, values of JSON and YAML become what nobody expects."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Sequence
from typing import Any

import yaml

from tests.fuzz.target import Form

TOKENS = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x1b[2J",
    b"\x1b]0;x\x07",
    b"\r",
    b"\n",
    b"\t",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-",
    b"\\",
    b"\\ud800",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"0",
    b"9" * 30,
    b"9" * 5000,
    b"1:" * 300 + b"1.5",
    b"null",
    b"true",
    b"~",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!int ''",
    b"!!timestamp x",
    b"!!binary x",
    b"!!python/name:os.system",
    b"? [a]",
    b"%YAML 9.9\n",
    b"--- \n",
    b"../../",
    b"/dev/zero",
    b"<script>",
    b"]]>",
    b"<!DOCTYPE x>",
    b"&#0;",
    "\u202e".encode(),
    b"\x85",
    "\u2028".encode(),
    "\u00b2".encode(),
    "\u0663".encode(),
    b"\xed\xa0\x80",
    b"[" * 3000,
    b'{"a":' * 1500,
    b"(" * 50,
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -(10**30),
    10**400,
    1e18,
    1e300,
    1.7e308,
    -1.7e308,
    5e-324,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    " ",
    "x",
    "1",
    "nan",
    "inf",
    "1e999",
    "\x1b]0;x\x07",
    "\x1b[2J\x9b",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "/etc/passwd",
    "\u202e",
    "\ud800",
    "\x00",
    "$x_2$",
    "\\frac{",
    "x" * 20_000,
    "=1+1",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"a": {}}},
    [1, 2],
    ["x", "y"],
    [0.5, 0.25],
)


def mutate(seeds: Sequence[bytes], form: Form, chance: random.Random) -> bytes:
    """Return an input made of one of `seeds`; the same `chance` gives the same one."""
    data = chance.choice(list(seeds))
    if form != "bytes" and chance.random() < 0.7:
        data = _mutate_values(data, form, chance)
        if chance.random() < 0.7:
            return data
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        data = _mutate_bytes(data, seeds, chance)
    return data


def _mutate_bytes(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    to = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 64, 512)))
    match chance.randrange(8):
        case 0:
            return data[:at] + chance.choice(TOKENS) + data[at:]
        case 1:
            return data[:at] + chance.choice(TOKENS) + data[to:]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:at]
        case 4:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 5:
            return data[:to] + data[at:to] * chance.choice((1, 2, 30)) + data[to:]
        case 6:
            other = chance.choice(list(seeds))
            return data[:at] + other[chance.randrange(len(other) + 1) :]
        case _:
            return (
                data[:at]
                + chance.choice((b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01"))
                + data[at + 4 :]
            )


def _mutate_values(data: bytes, form: Form, chance: random.Random) -> bytes:
    try:
        text = data.decode()
        if form == "yaml":
            document = _change(yaml.safe_load(text), chance)
            with contextlib.suppress(yaml.YAMLError):
                return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
            return data
        lines = text.split("\n") if form == "jsonl" else [text]
        place = chance.randrange(len(lines))
        lines[place] = json.dumps(_change(json.loads(lines[place] or "{}"), chance))
    except ValueError:
        return data
    return "\n".join(lines).encode()


def _change(document: Any, chance: random.Random) -> Any:
    for _ in range(chance.choice((1, 1, 2, 5))):
        places = list(_walk(document))
        if not places:
            return chance.choice(VALUES)
        parent, key = chance.choice(places)
        match chance.randrange(8):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[chance.choice(("", "x", "\x1b[2J", "event", "name", "__class__", "x" * 3000))] = parent.pop(key)
            case 2 if isinstance(parent, list):
                parent.extend(parent[:1] * chance.choice((1, 10, 300)))
            case 3:
                other, place = chance.choice(places)
                with contextlib.suppress(LookupError):
                    parent[key] = json.loads(json.dumps(other[place], default=str))
            case _:
                parent[key] = copy.deepcopy(chance.choice(VALUES))
    return document


def _walk(document: Any) -> list[tuple[Any, Any]]:
    """Return every container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            waiting.append(one[key])
    return found
