"""The HTML report: whole, self-contained, safe with hostile text, and readable for every kind of run."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from rich.console import Console
from turngap import report
from turngap.model.agent_figures import AgentFigures, AgentGpu, GpuFigures, KvCacheFigures
from turngap.model.figures import CostFigures
from turngap.model.result import Check, RunRecord, Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.report import (
    audio,
    data,
    headline,
    labels,
    resources,
    stage_table,
    template,
    terminal,
    waterfall,
    wording,
)
from turngap.verdict import summary
from turngap.verdict.budget import Budget, Hypothesis, Limit, load_budget, load_default_plan
from turngap_agent.errors import RunFolderError, UsageError
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import Stage

from tests.harness import report_builders as make

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $x_2$ {{ 7*7 }} \u2028\u2029"
VOID = {"meta", "link", "img", "input", "br", "hr", "path", "source"}


class _Page(html.parser.HTMLParser):
    """Ids, references and element counts of a page; notes end tags that close nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.wanted: list[str] = []
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.events: list[str] = []
        self._open: list[str] = []
        self.stray: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("aria-labelledby", "for", "aria-describedby"):
                self.wanted += (value or "").split()
            elif name in ("src", "href", "xlink:href", "action", "srcset"):
                self.urls.append(value or "")
            elif name.startswith("on"):
                self.events.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1] != tag and self._open[-1] in ("td", "th", "tr", "li", "option"):
            self._open.pop()
        if self._open and self._open[-1] == tag:
            self._open.pop()
        elif tag not in ("td", "th", "tr"):
            self.stray.append(tag)


def _render(tmp_path: Path, turns: list[TurnRecord], **changes: object) -> str:
    make.write_run(tmp_path / "run", turns, **changes)  # type: ignore[arg-type]
    out = tmp_path / "reports" / "run.html"
    report.render_report(tmp_path / "run", out)
    return out.read_text("utf-8")


def _outcomes() -> list[TurnRecord]:
    return [make.turn(index, outcome=outcome, scale=0.7) for index, outcome in enumerate(list(Outcome) * 2)]


def _cases() -> Iterator[tuple[str, list[TurnRecord], dict[str, object]]]:
    yield "answered", make.turns(24), {"audio": 2, "gpu": True}
    yield "every outcome", _outcomes(), {"audio": 9}
    yield "no spans", make.turns(5, spans=False), {"process": False, "wer": None, "wasted_attempts": None}
    yield "one turn", make.turns(1), {}
    yield "all missed", [make.turn(i, outcome=Outcome.MISSED) for i in range(4)], {}
    yield "all invalid", [make.turn(i, outcome=Outcome.INVALID) for i in range(4)], {"verdict": Verdict.INVALID}
    yield "no turns", [], {"complete": False, "planned_turns": 9}
    yield "speculative", make.turns(70, speculative=True, scale=0.5), {"verdict": Verdict.PASS}
    yield "warm-up only", [make.turn(0, warm_up=True, scored=False, cold=True)], {}


@pytest.mark.parametrize(("turns", "changes"), [case[1:] for case in _cases()], ids=[case[0] for case in _cases()])
def test_page_is_sound(tmp_path: Path, turns: list[TurnRecord], changes: dict[str, object]) -> None:
    """Any run's page has unique ids, no dangling reference, no external URL, and a title and desc for each svg."""
    text = _render(tmp_path, turns, **changes)
    page = _Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.wanted) <= set(page.ids)
    assert page.stray == []
    assert all(url.startswith("data:") for url in page.urls)
    assert not re.search(r"url\(|@import|https?://", text.replace("http:%2F%2Fwww.w3.org", ""))
    assert page.tags.count("svg") == text.count('role="img"') == page.tags.count("desc")
    assert "nan" not in re.sub(r"data:audio[^\"]*", "", text).lower().replace("finance", "").split()
    assert "#0101" not in text


def test_first_screen_says_verdict_first(tmp_path: Path) -> None:
    """Verdict and sentence come before the chart, the chart before the waterfalls, these before stages and validity."""
    text = _render(tmp_path, make.turns(60, scale=0.5), verdict=Verdict.PASS, sentence="All is well at 420 ms.")
    order = [text.index(mark) for mark in ('class="word">PASS', "All is well", "every-turn-wide", "waterfall-rep")]
    order += [text.index(f'id="{key}"') for key in ("h-stages", "h-valid", "h-outcomes", "h-all", "h-understand")]
    assert order == sorted(order)
    assert "p95 is at most" in text


def test_without_a_budget_nothing_is_over(tmp_path: Path) -> None:
    """500 ms is a neutral reference line: no red area, no `over by`, and no turn is marked as over."""
    turns = make.turns(60)
    assert min(turn.perceived_gap_ms or 0 for turn in turns) > 500
    text = _render(tmp_path, turns)
    assert "500 ms, for reference" in text
    rendered = text[: text.index('id="run-json"')]
    assert "over by" not in rendered
    assert 'class="over"' not in rendered
    assert "var(--bad)" not in text[text.index("<main>") :]
    assert "var(--budget)" not in text[text.index("<main>") :]
    given = Budget(name="own", limits=(Limit(metric="perceived_gap_ms", at_most=500),))
    judged = _render(tmp_path / "judged", turns, budget=given)
    assert "budget 500 ms" in judged
    assert "over by" in judged
    assert 'class="over"' in judged
    assert "var(--bad)" in judged[judged.index("<main>") :]


@pytest.mark.parametrize(
    ("limited", "largest"),
    [(None, "median turn gap"), ("turn_gap_ms", "median turn gap"), ("perceived_gap_ms", "median perceived gap")],
)
def test_the_largest_figure_names_the_measure_of_the_headline(
    tmp_path: Path, limited: str | None, largest: str
) -> None:
    """The turn gap, or the perceived gap if the budget limits that; the other one is stated under it."""
    turns = make.turns(60)
    changes = {} if limited is None else {"budget": Budget(name="own", limits=(Limit(metric=limited, at_most=500),))}
    record = make.run_record(turns, **changes)
    p50 = {"turn": record.turn_gap_ms.p50, "perceived": record.perceived_gap_ms.p50}
    main, other = ("perceived", "turn") if limited == "perceived_gap_ms" else ("turn", "perceived")
    text = _render(tmp_path, turns, **changes)
    tile = text[text.index("<dt>") : text.index("</dl>")]
    assert tile.startswith(f"<dt>{largest}</dt><dd>{wording.ms(p50[main])}<small>ms</small>")
    assert f'class="second">{wording.ms(p50[other])} ' in tile


def test_a_stage_without_a_target_says_so(tmp_path: Path) -> None:
    """Endpointing has no time in the plan: that is stated in its row alone; `unexplained` has none either."""
    turns = make.turns(3)
    (row,) = [row for row in stage_table.plan_rows(make.run_record(turns), turns) if row.name == "endpointing"]
    assert (row.expected, row.finding, row.over) == ("no target set", "–", False)
    assert _render(tmp_path, turns).count("<td>no target set") == 2  # endpointing and unexplained


@pytest.mark.parametrize("room_px", [190.0, 248.0, 360.0, 418.0])
def test_the_two_labels_of_a_waterfall_are_apart(room_px: float) -> None:
    """However short the gap: on one line they don't touch, and "agent is heard" stays inside the chart."""
    stops, heard = labels.width_px(waterfall.CALLER_STOPS), labels.width_px(waterfall.AGENT_IS_HEARD)
    for gap_px in range(1, int(room_px) + 1):
        ha, line = waterfall.place_agent_label(gap_px, room_px)
        first = gap_px - heard if ha == "right" else gap_px
        assert first + heard <= room_px + 0.1
        assert line == 1 or first >= stops + waterfall.GAP_PX


@pytest.mark.parametrize(
    ("n", "missed", "reason"),
    [
        (58, 0, "needs 59 turns"),
        (59, 1, "needs 93 turns: 1 has no good answer"),
        (92, 1, "needs 93 turns: 1 has no good answer"),
        (59, 2, "needs 124 turns: 2 have no good answer"),
    ],
)
def test_a_missing_bound_states_its_reason(tmp_path: Path, n: int, missed: int, reason: str) -> None:
    """How many turns are needed with as many failures, on the page and in the terminal."""
    turns = [make.turn(i, outcome=Outcome.CUT_OFF if i < missed else Outcome.ANSWERED) for i in range(n)]
    record = make.run_record(turns)
    assert record.turn_gap_ms.p95_upper is None
    assert reason in wording.bound_text(record.turn_gap_ms, n - missed)
    assert reason in _render(tmp_path, turns)
    target = io.StringIO()
    terminal.print_summary(record, Console(file=target, width=100))
    assert reason in target.getvalue()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Markup in transcripts, ids, notes, models and environment neither runs nor breaks the page or its JSON."""
    turns = [
        make.turn(i, transcript=HOSTILE, reply=HOSTILE, utterance_id=HOSTILE, detail=HOSTILE, stages_note=HOSTILE)
        for i in range(3)
    ]
    record = make.run_record(turns)
    agent = record.agent.model_copy(update={"models": {HOSTILE: HOSTILE}, "url": HOSTILE})
    text = _render(
        tmp_path,
        turns,
        audio=1,
        agent=agent,
        notes=(HOSTILE,),
        sentence=HOSTILE,
        reasons=(HOSTILE,),
        scenario=HOSTILE,
        environment={HOSTILE: {HOSTILE: [HOSTILE]}},
        validity=(Check(name=HOSTILE, ok=False, text=HOSTILE),),
    )
    page = _Page(text)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert page.events == []
    assert "49" not in re.findall(r"alert\(2\)&gt; \$x_2\$ (\S+)", text)
    embedded = re.search(r'id="run-json">(.*?)</script>', text, re.DOTALL)
    assert embedded is not None
    assert not set(embedded[1]) & set("<>&\u2028\u2029")
    assert RunRecord.model_validate(json.loads(embedded[1])).sentence == HOSTILE


def test_thousand_turns_stay_small(tmp_path: Path) -> None:
    """1,000 turns with GPU and process samples make a page under 300 kB."""
    assert len(_render(tmp_path, make.turns(1000, scale=0.6), gpu=True).encode()) < 300_000


def test_same_run_same_page(tmp_path: Path) -> None:
    """Rendering reads the folder alone: twice the same bytes."""
    turns = make.turns(6)
    assert _render(tmp_path, turns, gpu=True, audio=1) == _render(tmp_path, turns, gpu=True, audio=1)


def test_reserved_and_used_memory_are_side_by_side(tmp_path: Path) -> None:
    """Where the agent tells of its KV cache, the idle part of it is missing from the second column only."""
    agent = make.run_record([]).agent
    held = {"stt": 2000.0, "llm": 45_000.0, "tts": 4000.0}
    hosted = agent.model_copy(
        update={"memory_mib": held, "kv_cache": KvCacheFigures(reserved_mib=30_000, used_peak_mib=1500)}
    )
    text = _render(tmp_path, make.turns(3), gpu=True, agent=hosted)
    assert "<td>34.1–44.1<td>47.19<td>17.30</tr>" in text
    assert "<td>45–65<td>61.03<td>31.14</tr>" in text
    assert "1500.0 of 30000.0 MiB reserved" in text
    without = _render(tmp_path / "without", make.turns(3), gpu=True, agent=agent)
    assert "KV cache used at peak" not in without
    assert "No engine reports how much of its reserved memory was in use" in without


def test_an_interrupted_run_is_noted(tmp_path: Path) -> None:
    """An incomplete run says so, and a torn last line is left out with a note."""
    text = _render(tmp_path, make.turns(3), complete=False, planned_turns=20, torn=True)
    assert "3 of 20 planned turns" in text
    assert "a torn last line" in text


def test_an_all_invalid_run_is_noted(tmp_path: Path) -> None:
    """Where the instrument spoiled every turn the page blames it, and no share of the agent's is made up."""
    text = _render(tmp_path, [make.turn(i, outcome=Outcome.INVALID) for i in range(3)])
    assert "The instrument itself was late in all 3 scored turns" in text
    shares = {
        key: rate.rate
        for key, _, _, rate in headline.list_outcome_rates(data.read_report_data(tmp_path / "run").record)
    }
    assert shares["invalid"] == 1.0
    assert shares["missed"] is None


def test_missing_parts_are_noted(tmp_path: Path) -> None:
    """No GPU and no spans are stated, not left blank."""
    text = _render(tmp_path, make.turns(3, spans=False))
    assert "This machine has no GPU" in text
    assert "the agent sent no spans" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "not a run folder"),
        ("{", "damaged"),
        ('{"schema_version": 99}', "newer"),
        ("[]", "not a run of turngap"),
        ('{"schema_version": 1, "other": 2}', "damaged"),
    ],
)
def test_foreign_folder_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    """A folder without a readable run is one error line that names the file."""
    if text is not None:
        (tmp_path / "run.json").write_text(text, "utf-8")
    with pytest.raises(RunFolderError, match=words) as caught:
        data.read_report_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    """Only the last line may be torn: any other names file and line."""
    make.write_run(tmp_path, make.turns(2))
    path = tmp_path / "turns.jsonl"
    path.write_text("{}\n" + path.read_text("utf-8"), "utf-8")
    with pytest.raises(RunFolderError, match=r"turns\.jsonl:1: damaged"):
        data.read_report_data(tmp_path)


def test_bad_samples_are_noted(tmp_path: Path) -> None:
    """Rows with an unknown value are left out; a CSV file that lacks a column is left out with a note."""
    make.write_run(tmp_path, make.turns(2))
    (tmp_path / "gpu.csv").write_text("at_s,gpu,used_mib\n1.0,0,\n2.0,0,512.0\n3.0,0", "utf-8")
    (tmp_path / "process.csv").write_text("at_s,other\n1,2\n", "utf-8")
    run = data.read_report_data(tmp_path)
    assert run.gpu is not None
    assert list(run.gpu["used_mib"]) == [512.0]
    assert run.process is None
    assert len(run.notes) == 1


def test_unwritable_target_leaves_nothing(tmp_path: Path) -> None:
    """Where the file cannot be written there is one clear line and no half-written file."""
    make.write_run(tmp_path / "run", make.turns(1))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        report.render_report(tmp_path / "run", tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]


def test_embedded_json_cannot_end_its_script() -> None:
    """`<`, `>`, `&` and the two line separators are escaped, and the data survives."""
    text = str(template.embed_json({"a": HOSTILE}))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"a": HOSTILE}


def test_representative_is_nearest_the_medians() -> None:
    """Of a fast, a middling and a slow turn the middling one represents the run; failures never do."""
    turns = [make.turn(0, scale=0.5), make.turn(0, scale=1.0), make.turn(0, scale=2.0)]
    assert summary.representative_turn(turns) is turns[1]
    assert summary.worst_turn(turns) is turns[2]
    missed = make.turn(0, outcome=Outcome.MISSED)
    invalid = make.turn(0, scale=9, outcome=Outcome.INVALID)
    assert summary.representative_turn([missed]) is None
    assert summary.worst_turn([missed, turns[0], invalid]) is turns[0]
    assert summary.perceived_gaps([missed, turns[0]]) == [None, turns[0].perceived_gap_ms]


@pytest.mark.parametrize("speculative", [False, True])
def test_waterfall_accounts_for_the_gap(speculative: bool) -> None:
    """The pieces of a waterfall's rows add up to the turn gap: nothing on the path is lost or drawn twice."""
    turn = make.turn(3, speculative=speculative)
    rows = waterfall.waterfall_rows(turn)
    assert sum(row.exposed_ms for row in rows) == pytest.approx(turn.turn_gap_ms)
    names = [row.name for row in rows]
    assert ("end, confirmed" in names) == speculative
    assert ("endpointing" in names) != speculative


def test_budget_lines_hold_every_stage() -> None:
    """Each stage is in exactly one line, and the medians of one turn's lines add up to its perceived gap."""
    assert load_budget("sub500").hypotheses == load_default_plan()
    turns = [make.turn(2)]
    names = [row.name for line in stage_table.plan_rows(make.run_record(turns), turns) for row in line.stages]
    assert sorted(names) == sorted(wording.STAGE[stage][0] for stage in Stage)
    own = load_budget("sub500")
    lines = stage_table.plan_rows(make.run_record(turns, budget=own), turns)
    assert sum(line.p50_ms or 0 for line in lines[:-1]) == pytest.approx(turns[0].perceived_gap_ms)
    assert lines[-1].p50_ms == pytest.approx(500 - (turns[0].perceived_gap_ms or 0))
    assert lines[-1].over
    assert "over by" in lines[-1].finding


def test_the_runs_own_budget_counts() -> None:
    """A run with a budget is shown against its limits and plan; charts show the gap that it limits."""
    turns = [make.turn(2)]
    plan = (Hypothesis(name="all of it", low_ms=1, high_ms=1, stages=tuple(Stage)),)
    for metric, at_ms in (("perceived_gap_ms", 800.0), ("turn_gap_ms", 800.0)):
        given = Budget(name="own", limits=(Limit(metric=metric, at_most=800),), hypotheses=plan)
        record = make.run_record(turns, budget=given)
        line = stage_table.reference_line(record)
        assert (line.at_ms, line.metric) == (at_ms, metric)
        (row,) = stage_table.plan_rows(record, turns)
        assert (row.name, row.expected, row.over) == ("all of it", "1", True)
        assert row.p50_ms == pytest.approx(turns[0].turn_gap_ms)


def test_mulaw_wav_is_a_wav() -> None:
    """The packed audio decodes, by another reader, to the samples that μ-law keeps."""
    pcm = (8000 * np.sin(np.arange(1601) / 5)).astype(np.int16)
    stereo = np.stack([pcm, -pcm], axis=1)
    read, rate = soundfile.read(io.BytesIO(audio.encode_mulaw_wav(stereo)), dtype="int16", always_2d=True)
    assert rate == 8000
    expected = mulaw.decode(mulaw.encode(stereo.reshape(-1))).reshape(-1, 2)
    np.testing.assert_array_equal(read, expected)


def test_players_keep_to_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The representative and worst calls are first; beyond the page's limit the rest are named as left out."""
    turns = [make.turn(index, scale=1 + index / 10) for index in range(5)]
    make.write_run(tmp_path, turns, audio=5)
    kept = data.read_report_data(tmp_path).turns
    monkeypatch.setattr(audio, "MOST_BYTES", 2 * 8000 * 15)
    notes: list[str] = []
    players = audio.make_players(tmp_path, kept, notes)
    assert [player.name for player in players] == ["call-0000.wav", "call-0001.wav"]
    assert "3 more recorded calls" in notes[0]
    first = players[0]
    assert [pin.kind for pin in first.pins] == ["t0", "t1"]
    assert first.pins[1].at_s - first.pins[0].at_s == pytest.approx((kept[0].turn_gap_ms or 0) / 1000)
    assert len(base64.b64decode(first.uri.split(",", 1)[1])) < 2 * 8000 * 7.1


@pytest.mark.parametrize("name", ["../outside.wav", "missing.wav", "/etc/hostname", "mono.wav"])
def test_audio_that_will_not_do(tmp_path: Path, name: str) -> None:
    """Audio outside the folder, missing or of another form: a note and no player."""
    run = tmp_path / "run"
    run.mkdir()
    tone = np.zeros((8000, 2), dtype=np.int16)
    soundfile.write(tmp_path / "outside.wav", tone, 8000)
    soundfile.write(run / "mono.wav", tone[:, 0], 8000)
    notes: list[str] = []
    assert audio.make_players(run, [make.turn(0, audio=name, audio_offset_ms=100.0)], notes) == []
    assert len(notes) == 1


def test_decimation_keeps_the_peak(tmp_path: Path) -> None:
    """At most so many points are drawn, and the largest sample is among them."""
    make.write_run(tmp_path, make.turns(1), gpu=True)
    samples = data.read_report_data(tmp_path).gpu
    assert samples is not None
    samples.loc[1234, "used_mib"] = 80_000
    drawn = resources.decimate(samples, "used_mib", 100)
    assert len(drawn) <= 100
    assert drawn["used_mib"].max() == 80_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.0"), (-0.01, "0.0"), (9.94, "9.9"), (9.96, "10"), (1234.5, "1,234"), (-12.0, "−12")],
)
def test_milliseconds_in_words(value: float | None, text: str) -> None:
    """One decimal under ten, none above, a true minus sign, and a dash for none."""
    assert wording.ms(value) == text


def test_units_stay_with_their_numbers() -> None:
    """No line breaks between a number and its unit."""
    assert (
        wording.keep_units_together("at most 482 ms with 95 % of 3 turns")
        == "at most 482\u00a0ms with 95\u00a0% of 3 turns"
    )


def test_cost_is_beside_the_latency(tmp_path: Path) -> None:
    """Where the profile has a price; the price and whose it is stand with it."""
    figures = CostFigures(
        an_hour=1.5,
        currency="USD",
        as_of="2026-05",
        source="an <assumption>",
        simultaneous_calls=2,
        call_minutes=5.0,
        answered_turns=50,
        call_minute=0.0125,
        answered_turn=0.00125,
    )
    text = _render(tmp_path, make.turns(3), cost=figures)
    assert "0.00125 USD an answered turn" in text
    assert "2026-05: an &lt;assumption&gt;" in text
    assert "USD" not in _render(tmp_path / "without", make.turns(3))


def test_turns_are_marked_on_the_timeline_of_gpu_memory(tmp_path: Path) -> None:
    """Each from end of speech to answer; neighbours closer than a pixel are one, those outside are left out."""
    second = 1_000_000_000
    spans = [(5, 6), (100, 101), (101, 102), (1100, None), (2000, 2001), (99, 99)]
    turns = [make.turn(t0_ns=a * second, t1_ns=None if b is None else b * second) for a, b in spans]
    assert resources.turn_intervals(turns, 10.0, 1110.0) == [
        pytest.approx((89.0, 92.1)),
        pytest.approx((1090.0, 1091.1)),
    ]
    assert "the turns are marked below it" in resources.draw_gpu_memory(
        pd.DataFrame({"at_s": [1.0, 900.0], "gpu": [0, 0], "used_mib": [10.0, 20.0]}),
        (GpuFigures(name="A100", total_mib=81920, used_peak_mib=20, used_before_mib=10, number=0),),
        turns,
    )


def test_the_agents_gpu_alone_is_drawn() -> None:
    """Other use of the machine was sampled before the agent reported which card it uses."""
    samples = pd.DataFrame({"at_s": [1.0, 1.0, 2.0], "gpu": [0, 1, 1], "used_mib": [70_000.0, 10.0, 20.0]})
    figures = (GpuFigures(name="A100", total_mib=81920, used_peak_mib=20, used_before_mib=10, number=1),)
    assert "at most 0.0 GB" in resources.draw_gpu_memory(samples, figures)


def test_gpu_sharing_is_stated(tmp_path: Path) -> None:
    """Card, MPS and limits, and the two entries of the validity list that concern it."""
    used = AgentGpu(uuid="GPU-8f", name="NVIDIA H200", mps=True, llm_active_thread_pct=70)
    foreign = Check(name="GPU to itself", ok=False, text="another process was on the GPU beside 2 of 4 turns")
    text = _render(tmp_path, make.turns(4), gpu=True, agent=AgentFigures(url="ws://a", gpu=used), validity=(foreign,))
    assert "The agent used NVIDIA H200 (GPU-8f) with MPS, the language model has at most 70 % of its threads." in text
    assert "Another process was on the GPU beside 2 of 4 turns." in text
