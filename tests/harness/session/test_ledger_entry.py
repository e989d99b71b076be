"""Which attempt a run is, what several attempts do to the risk of a false PASS, and what identifies a build."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from turngap.clock import SystemClock
from turngap.model.budget import Hypothesis
from turngap.model.result import LedgerSummary, RunRecord
from turngap.session import fingerprint, ledger_entry, plan
from turngap.session.request import Options, Request
from turngap.store import ledger
from turngap.verdict import stopping
from turngap.verdict.budget import Budget, Limit

from tests.harness import report_builders as builders

EDGE = Budget(name="edge", limits=(Limit(metric="turn_gap_ms", at_most=500),))


def request(**changes: object) -> Request:
    """A run of the gate against a budget, with an agent that needs no weights."""
    made = plan.plan_run("gate", profile="scripted", budget="edge500", options=Options(n_turns=59))
    return replace(made, **changes)  # type: ignore[arg-type]


def identify(made: Request) -> dict[str, str]:
    return asyncio.run(fingerprint.identify_build(made))


def test_the_probability_of_a_false_pass_grows_with_the_attempts() -> None:
    """1 - (1 - a)^k, with the exact a of the plan; simulated over 20,000 times three runs of the plan."""
    once = ledger_entry.pass_probability(EDGE, [190])
    assert 0.03 < once <= 0.05
    for tries in (2, 3, 10):
        assert ledger_entry.pass_probability(EDGE, [190] * tries) == pytest.approx(1 - (1 - once) ** tries)
    shorter = ledger_entry.pass_probability(EDGE, [59])
    both = ledger_entry.pass_probability(EDGE, [190, 59])
    assert both == pytest.approx(1 - (1 - once) * (1 - shorter))  # each attempt by its own planned turns
    stopping_plan = stopping.plan_run(EDGE, 190)
    assert stopping_plan is not None
    own = stopping.find_plan(stopping_plan, EDGE.limits[0])
    assert own is not None
    misses = np.cumsum(np.random.default_rng(1).random((60_000, 190)) < 0.05, axis=1)
    allowed = np.array([own.allowed(turns) for turns in range(1, 191)])
    over = np.array([[own.shows_over(m, n) for m in range(191)] for n in range(1, 191)])
    within = misses <= allowed
    ends = over[np.arange(190), misses] | (misses >= own.last_miss)
    first_within = np.where(within.any(axis=1), within.argmax(axis=1), 190)
    first_end = np.where(ends.any(axis=1), ends.argmax(axis=1), 190)
    passed = (first_within < 190) & (first_within <= first_end)
    one_of_three = passed.reshape(-1, 3).any(axis=1).mean()
    assert one_of_three == pytest.approx(ledger_entry.pass_probability(EDGE, [190] * 3), abs=0.006)


def test_the_third_attempt_says_so(tmp_path: Path) -> None:
    """With how the others ended, and the arithmetic."""
    made, clock = request(), SystemClock()
    for name, verdict in (("one", "PASS"), ("two", "FAIL"), ("three", None)):
        record = builders.run_record([], complete=True, **({} if verdict is None else {"verdict": verdict}))
        folder = tmp_path / name
        folder.mkdir()
        opened = asyncio.run(ledger_entry.open_entry(made, folder, record, clock))
        assert opened is not None
        if verdict is not None:
            summary = opened.close(record.model_copy(update={"n_turns": 59}), "all planned turns were called")
            assert summary.counts[verdict] == 1
    last = builders.run_record([], complete=True, verdict="PASS").model_copy(update={"n_turns": 59})
    folder = tmp_path / "four"
    folder.mkdir()
    opened = asyncio.run(ledger_entry.open_entry(made, folder, last, clock))
    assert opened is not None
    summary = opened.close(last, "all planned turns were called")
    assert summary.number == 4
    assert summary.counts == {"PASS": 2, "FAIL": 1, "aborted": 1}
    assert "4th attempt on this build (2 PASS, 1 FAIL, 1 aborted)" in summary.sentence
    assert "passes 1 of 4 attempts" in summary.sentence


def enter_run(folder: Path, made: Request, verdict: str = "FAIL") -> LedgerSummary:
    """Enter a run, from its beginning to its end."""
    folder.mkdir()
    record = builders.run_record([], complete=True, verdict=verdict).model_copy(update={"n_turns": 59})
    opened = asyncio.run(ledger_entry.open_entry(made, folder, record, SystemClock()))
    assert opened is not None
    return opened.close(record, "all planned turns were called")


def test_a_budget_that_is_changed_a_little_does_not_start_the_count_again(tmp_path: Path) -> None:
    """500.001 ms in place of 500 is another budget; a description or a plan is none; all are on one build."""
    shifted = EDGE.model_copy(update={"limits": (Limit(metric="turn_gap_ms", at_most=500.001),)})
    described = EDGE.model_copy(
        update={
            "description": "another one",
            "hypotheses": (Hypothesis(name="a", low_ms=1, high_ms=2, kind="headroom"),),
        }
    )
    assert enter_run(tmp_path / "one", request(budget=EDGE)).with_this_budget == 1
    second = enter_run(tmp_path / "two", request(budget=shifted), "PASS")
    assert (second.number, second.with_this_budget) == (2, 1)
    assert second.sentence.startswith(
        "2nd attempt on this build (1 PASS, 1 FAIL), 1 of them with this budget; an agent"
    )
    third = enter_run(tmp_path / "three", request(budget=described))
    assert (third.number, third.with_this_budget) == (3, 2)
    assert third.pass_probability == pytest.approx(ledger_entry.pass_probability(EDGE, [59] * 3))
    alone = enter_run(tmp_path / "four", request(budget=described, options=Options(n_turns=59, inject=("stt=1",))))
    assert (alone.number, alone.with_this_budget) == (1, 1)


def test_a_run_that_was_written_with_the_earlier_words_is_read() -> None:
    """`attempt` and `attempt_id` were the names of `ledger` and `entry`."""
    data = builders.run_record([]).model_dump(mode="json")
    del data["ledger"]
    data["attempt"] = {"attempt_id": "one", "fingerprint": "f1", "number": 2, "counts": {"PASS": 2}}
    read = RunRecord.model_validate(data)
    assert read.ledger is not None
    assert (read.ledger.entry, read.ledger.number) == ("one", 2)
    assert RunRecord.model_validate(read.model_dump(mode="json")) == read


def test_a_run_without_a_budget_has_no_entry(tmp_path: Path) -> None:
    """Nothing is judged, so nothing can be tried again until it passes."""
    record = builders.run_record([])
    assert asyncio.run(ledger_entry.open_entry(request(budget=None), tmp_path, record, SystemClock())) is None
    assert not (tmp_path.parent / ledger.LEDGER).exists()


def test_the_settings_and_how_the_agent_is_started_are_part_of_its_build() -> None:
    """Its name, its price and the network that is added to its gaps are not."""
    made = request()
    assert made.profile is not None
    build = identify(made)
    assert {"settings", "source", "python", "package turngap"} <= set(build)
    other = made.profile.model_copy(update={"limits": made.profile.limits.model_copy(update={"gated_calls": 2})})
    renamed = made.profile.model_copy(update={"name": "other", "description": "the same"})
    assert identify(replace(made, profile=other)) != build
    assert identify(replace(made, profile=renamed)) == build
    assert identify(replace(made, options=replace(made.options, inject=("stt=10",)))) != build
    assert identify(replace(made, options=replace(made.options, n_turns=60))) == build
    assert fingerprint.make_fingerprint(build) == fingerprint.make_fingerprint(identify(made))


def test_the_content_of_ones_own_weights_is_part_of_the_build(tmp_path: Path) -> None:
    """Not their place in time: the same path with other content is another build."""
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "a.bin").write_bytes(b"one")
    settings = {"stt": {"model": str(weights)}, "llm": {"system_prompt": "Either / or\n", "model": "a/b"}}
    assert list(fingerprint._list_own_paths(settings)) == [str(weights)]
    before = fingerprint._hash_path(weights)
    (weights / "a.bin").write_bytes(b"two")
    assert fingerprint._hash_path(weights) != before
    (weights / "a.bin").write_bytes(b"one")
    assert fingerprint._hash_path(weights) == before


def test_an_agent_at_a_url_is_known_by_what_its_health_page_names() -> None:
    """The version counts, the uptime does not; an agent without such a page is known by its URL."""
    pages = iter([{"version": "1.2", "uptime": 1}, {"version": "1.2", "uptime": 2}, {"version": "1.3", "uptime": 3}])
    with health_pages(pages) as url:
        first, second, third = (identify(request(profile=None, url=url)) for _ in range(3))
    assert first == second == {"url": url, "health version": '"1.2"'}
    assert third != first
    assert identify(request(profile=None, url="ws://127.0.0.1:9/media")) == {"url": "ws://127.0.0.1:9/media"}


@contextmanager
def health_pages(pages: Iterator[dict[str, object]]) -> Iterator[str]:
    """Serve one page after the other at `/healthz`; yield the agent's WebSocket URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(next(pages)).encode()
            self.send_response(200 if self.path == "/healthz" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.server_port}/media"
        server.shutdown()
        thread.join()
