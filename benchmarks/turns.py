"""Measures the bargain of endpointing on recorded turns: delay after the true end against false cut-offs.

Every policy and every turn model that the registry knows gets a line, on every corpus; `read` is 100 prompts of one
speaker and pairs of them with made pauses, and needs no corpus on the machine. Time is the audio's own: what engines
take to compute is modelled (`--stt-ms`, `--llm-ms`, `--model-ms`), so no idle machine is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from turngap_agent import profile
from turngap_agent.endpointing.smart_turn.settings import SmartTurnSettings
from turngap_agent.engines import TurnSettings, registry
from turngap_agent.errors import TurngapError
from turngap_agent.profile import Profile

from benchmarks.promises import (
    Promise,
    check_at_most,
    format_number,
    format_percent,
    make_parser,
    print_progress,
    print_result,
    print_table,
    run_main,
)
from benchmarks.turn_taking import chart, operating_points
from benchmarks.turn_taking.decisions import TurnOutcome, decide
from benchmarks.turn_taking.figures import LEAST_HOLD_MS, BargainFigures, Share, make_figures
from benchmarks.turn_taking.hearing import Costs, Hearing
from benchmarks.turn_taking.operating_points import SCORED_AT_MS, OperatingPoint, ScoredPause
from benchmarks.turn_taking.tracks import GATE, PER_MS, READ, READ_TO_FIT, Track, load_tracks

ALONE = ("endpointing.pace=null", "endpointing.cut_off_rate=null", "endpointing.provisional_ms=192")
SMART_TURN = "endpointing.model={engine: smart_turn}"
MELODY = "endpointing.model={engine: words_and_melody, melody: {engine: smart_turn}}"
PATIENT, EAGER = "words, patient", "words, eager"
POLICIES: dict[str, tuple[str, ...]] = {
    "silence 416 ms": (*ALONE, "endpointing.policy=silence", "endpointing.min_silence_ms=416"),
    "silence 800 ms": (*ALONE, "endpointing.policy=silence", "endpointing.min_silence_ms=800"),
    "quiet 416 ms": (*ALONE, "endpointing.model=null", "endpointing.min_silence_ms=416"),
    "Smart Turn, 416-800 ms": (*ALONE, SMART_TURN, "endpointing.min_silence_ms=416", "endpointing.max_silence_ms=800"),
    PATIENT: ("endpointing.pace=patient",),
    EAGER: ("endpointing.pace=eager",),
    "words and melody, patient": ("endpointing.pace=patient", MELODY),
}
"""The lines: overrides of profile `cpu`."""
TESTS_ONLY = ("scripted",)
HEARD = "words_and_melody with melody"
"""The line of the turn model with Smart Turn as its melody, which it has not by default."""
RATES = (0.05, 0.10)
WITHIN_MS = (300, 600)


def main() -> int:
    """Print the tables; return 1 if a promise about the profile's paces does not hold."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "corpora",
        nargs="*",
        default=[READ],
        metavar="CORPUS",
        help=f"names or paths; {READ} (the default), {READ_TO_FIT}, {GATE}",
    )
    parser.add_argument("--prompts", type=int, default=100, help=f"prompts of {READ} (default 100)")
    parser.add_argument("--stt-ms", type=float, default=110, help="modelled transcription (default 110)")
    parser.add_argument("--llm-ms", type=float, default=30, help="modelled reading of the words (default 30)")
    parser.add_argument("--model-ms", type=float, default=60, help="modelled turn model's own work (default 60)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="changes profile cpu everywhere"
    )
    parser.add_argument("--chart", type=Path, help="write the chart of delay against cut-offs there (.svg or .png)")
    options = parser.parse_args()
    cpu = profile.load("cpu", tuple(options.set))
    hearing = Hearing(cpu, Costs(options.stt_ms, options.llm_ms, options.model_ms))
    try:
        tracks = [track for corpus in options.corpora for track in load_tracks(corpus, options.prompts)]
        rows = [
            row for name, overrides in list_policies(cpu).items() for row in _measure(hearing, name, overrides, tracks)
        ]
        fronts = _sweep(hearing, cpu, tracks)
    finally:
        hearing.close()
    _print(rows, fronts, as_json=options.json)
    if options.chart is not None:
        chart.write(options.chart, fronts, rows)
    details = {
        "rows": [asdict(row) for row in rows],
        "operating_points": {
            corpus: {name: _points(points) for name, points in of.items()} for corpus, of in fronts.items()
        },
    }
    return print_result("turns", _check(rows, fronts), details, as_json=options.json)


def list_policies(cpu: Profile) -> dict[str, tuple[str, ...]]:
    """Return the lines: those above, and one for each turn model that another package has installed."""
    others = [name for name in list_models() if name not in registry.SHIPPED["turn"]]
    plugged = {
        f"{name}, patient": ("endpointing.pace=patient", f"endpointing.model={{engine: {name}}}") for name in others
    }
    return {**POLICIES, **plugged}


def list_models() -> dict[str, TurnSettings]:
    """Return every turn model of the registry with its default settings; one that needs more is named and left out."""
    models: dict[str, TurnSettings] = {}
    for name in registry.names("turn"):
        if name in TESTS_ONLY:
            continue
        try:
            settings = registry.find("turn", name).model_validate({"engine": name})
            settings.require_packages()
        except (TurngapError, ValueError) as error:
            print_progress(f"no line for {name}: {' '.join(str(error).split())}")
            continue
        assert isinstance(settings, TurnSettings)
        models[name] = settings
    return models


def _measure(hearing: Hearing, name: str, overrides: Sequence[str], tracks: Sequence[Track]) -> list[BargainFigures]:
    print_progress(f"policy {name}")
    settings = profile.change(hearing.profile, tuple(overrides)).endpointing
    by_corpus: dict[str, list[TurnOutcome]] = {}
    for track in tracks:
        answer = hearing.answers(track, settings.model)
        by_corpus.setdefault(track.corpus, []).extend(decide(settings, track, hearing.voicings(track), answer))
    return [make_figures(name, corpus, outcomes) for corpus, outcomes in by_corpus.items()]


def _sweep(hearing: Hearing, cpu: Profile, tracks: Sequence[Track]) -> dict[str, dict[str, list[OperatingPoint]]]:
    """Return all policies of every detector, by corpus and detector; made pauses count with the read prompts."""
    fronts: dict[str, dict[str, list[OperatingPoint]]] = {}
    heard = profile.change(cpu, (MELODY,)).endpointing.model
    assert heard is not None, "the override names a model"
    models = {"smart_turn": SmartTurnSettings(), **list_models(), HEARD: heard}
    for corpus in dict.fromkeys(track.corpus.partition(",")[0] for track in tracks):
        of = [track for track in tracks if track.corpus.partition(",")[0] == corpus]
        print_progress(f"operating points on {corpus}")
        silent = score_pauses(None, hearing, of)
        lines = {"silence": operating_points.sweep_silences(silent)}
        for name, settings in models.items():
            scored = score_pauses(settings, hearing, of)
            lines[name] = operating_points.sweep_thresholds(scored)
            if settings.reads_words:
                lines[f"{name}, waiting"] = operating_points.sweep_waits(scored, cpu.endpointing.pauses)
        fronts[corpus] = lines
    return fronts


def score_pauses(settings: TurnSettings | None, hearing: Hearing, tracks: Sequence[Track]) -> list[ScoredPause]:
    """Return the pauses of 200 ms and more and the true ends of the tracks, scored 200 ms after they began."""
    scored = []
    for track in tracks:
        own: list[float] = []
        for turn in track.turns:
            held: list[tuple[int, float | None]] = [(start, (end - start) / PER_MS) for start, end in turn.pauses]
            places = [one for one in held if one[1] is not None and one[1] >= SCORED_AT_MS]
            if turn.over:
                places.append((turn.speech[1], None))
            for start, length_ms in places:
                at = start + SCORED_AT_MS * PER_MS
                score = 1.0 if settings is None else hearing.score(settings, track, turn, at)
                scored.append(ScoredPause(length_ms, score, tuple(own), track.speaker))
                if length_ms is not None:
                    own.append(length_ms)
    return scored


def _points(points: Sequence[OperatingPoint]) -> dict[str, object]:
    found: dict[str, object] = {}
    for rate in RATES:
        best, held_out = operating_points.best_delay(points, rate), operating_points.hold_out(points, rate)
        found[f"{100 * rate:.0f} %"] = best and {
            "cut_off_rate": best.cut_off_rate,
            "mean_delay_ms": best.mean_delay_ms,
            "policy": best.policy,
            "held_out": held_out and asdict(held_out),
        }
    return {
        **found,
        **{f"rate within {ms} ms": operating_points.lowest_rate(points, ms) for ms in WITHIN_MS},
    }


def _check(rows: Sequence[BargainFigures], fronts: dict[str, dict[str, list[OperatingPoint]]]) -> list[Promise]:
    """Return the promises: on read prompts no short pause ends a turn; elsewhere one pause in ten, one turn in six."""
    promises = []
    for row in rows:
        read = row.corpus.startswith((READ, GATE))
        if row.policy == PATIENT and not read:
            pauses, turns = row.pauses_cut, row.turns_cut
            promises += [
                check_at_most(f"{row.corpus}: patient cuts off in a tenth of pauses", _percent(pauses), 10.0, "%", 1),
                check_at_most(f"{row.corpus}: patient cuts off in a sixth of turns", _percent(turns), 100 / 6, "%", 1),
                check_at_most(f"{row.corpus}: patient's median delay", row.p50_ms, 500.0),
            ]
        if row.policy == PATIENT and read:
            short = sum(cut for name, cut, _ in row.by_length if name == "200-400")
            promises.append(
                check_at_most(f"{row.corpus}: patient cuts off no pause under 400 ms", float(short), 0.0, "", 0)
            )
            promises.append(check_at_most(f"{row.corpus}: patient's median delay", row.p50_ms, 430.0))
        if row.policy == EAGER and row.corpus in (READ, READ_TO_FIT, GATE):
            promises.append(check_at_most(f"{row.corpus}: eager's median delay", row.p50_ms, 320.0))
    natural = {
        corpus: lines for corpus, lines in fronts.items() if not corpus.startswith(READ)
    }  # made pauses say nothing
    for corpus, lines in natural.items():
        for rate in RATES:
            ours, theirs = (
                operating_points.best_delay(lines[name], rate) for name in ("words_and_melody", "smart_turn")
            )
            if theirs is not None:
                smart_turn = f"Smart Turn's {theirs.mean_delay_ms:.0f} ms"
                what = f"{corpus}: delay at {100 * rate:.0f} %, chosen on it, of {smart_turn}"
                share = None if ours is None else 100 * ours.mean_delay_ms / theirs.mean_delay_ms
                promises.append(check_at_most(what, share, 100 * 2 / 3, "%", 0))
    return promises


def _percent(share: Share) -> float | None:
    return 100 * share.events / share.n if share.n else None


def _print(
    rows: Sequence[BargainFigures], fronts: dict[str, dict[str, list[OperatingPoint]]], *, as_json: bool
) -> None:
    for corpus in dict.fromkeys(row.corpus for row in rows):
        of = [row for row in rows if row.corpus == corpus]
        classes = [name for name, _, _ in of[0].by_length]
        print_table(
            f"{corpus}: ms from the true end ({of[0].ends} turns that are over) to the confirmed one; cut-offs",
            ("policy", "mean", "p50", "p95", "never", "turns cut (95 %)", f"pauses of {LEAST_HOLD_MS} ms+", *classes),
            [
                (
                    row.policy,
                    *(format_number(value, "") for value in (row.mean_ms, row.p50_ms, row.p95_ms)),
                    str(row.never),
                    _share(row.turns_cut),
                    _share(row.pauses_cut),
                    *(f"{cut}/{n}" for _, cut, n in row.by_length),
                )
                for row in of
            ],
            as_json=as_json,
        )
    for corpus, lines in fronts.items():
        print_table(
            f"{corpus}: mean delay at a rate of false cut-offs, of the best policy, chosen on this very speech, which "
            "flatters (held out: chosen for each speaker on the others, with the rate it then has); lowest rate within "
            "a mean delay",
            (
                "detector",
                *(name for rate in RATES for name in (f"at {100 * rate:.0f} %", "held out")),
                *(f"within {ms} ms" for ms in WITHIN_MS),
            ),
            [
                (
                    name,
                    *(cell for rate in RATES for cell in _delay_cells(points, rate)),
                    *(format_percent(operating_points.lowest_rate(points, ms)) for ms in WITHIN_MS),
                )
                for name, points in lines.items()
            ],
            as_json=as_json,
        )


def _delay_cells(points: Sequence[OperatingPoint], rate: float) -> tuple[str, str]:
    best, held_out = operating_points.best_delay(points, rate), operating_points.hold_out(points, rate)
    return (
        format_number(None if best is None else best.mean_delay_ms),
        "–"
        if held_out is None
        else f"{format_number(held_out.mean_delay_ms)} ({format_percent(held_out.cut_off_rate)})",
    )


def _share(share: Share) -> str:
    return f"{share.events}/{share.n} ({100 * share.low:.0f}-{100 * share.high:.0f} %)"


if __name__ == "__main__":
    sys.exit(run_main(main))
