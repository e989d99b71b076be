"""The report in a real browser: no console errors, no page wider than its window, filters and sorting that work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from turngap import report
from turngap.model.result import RunRecord
from turngap.model.turn import Outcome, TurnRecord

from tests.harness import report_builders as make
from tests.harness.accessibility import THEMES, find_violations
from tests.harness.browser import needs_chromium, open_page

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    needs_chromium,
]


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    base = tmp_path_factory.mktemp("report")
    turns = [make.turn(i, scale=0.6, outcome=Outcome.MISSED if i == 4 else Outcome.ANSWERED) for i in range(12)]
    turns[5] = turns[5].model_copy(update={"transcript": "<script>document.title='hit'</script>"})
    make.write_run(base / "run", turns, gpu=True, audio=2)
    report.render_report(base / "run", base / "run.html")
    return (base / "run.html").as_uri()


def _until(page: Any, condition: str) -> None:
    """Ask from outside until it holds: a poll inside the page would be refused by its own policy."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never: {condition}")


HOSTILE = (
    "\"'><img src=x onerror=window.hit=1><script>window.hit=1</script><svg onload=window.hit=1>"
    '</script></style></title><a href="javascript:window.hit=1">{{ 7 * 7 }} $x_2$ ${window.hit=1}\x1b[2J\u202e'
)


def _fill(model: type[RunRecord] | type[TurnRecord], text: str) -> str:
    """Return JSON of a model with `HOSTILE` in every text, and in every key, that the model takes."""
    document = json.loads(text)
    places = [([], document)]
    while places:
        path, node = places.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            before = node[key]
            if isinstance(before, (dict, list)):
                places.append(([*path, key], before))
            if isinstance(before, str):
                node[key] = HOSTILE
                if not _takes(model, document):
                    node[key] = before
            if isinstance(node, dict) and isinstance(key, str) and path:
                node[key + HOSTILE] = node[key]
                if not _takes(model, document):
                    del node[key + HOSTILE]
    return json.dumps(document)


def _takes(model: type[RunRecord] | type[TurnRecord], document: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError:
        return False
    return True


def test_nothing_of_a_hostile_run_is_executed(browser: Any, tmp_path: Path) -> None:
    """Markup in every text of a run folder: the page opens as ever, no script of it runs, and nothing was blocked."""
    run = make.write_run(tmp_path / "run", make.turns(4), gpu=True, audio=1)
    (run / "run.json").write_text(_fill(RunRecord, (run / "run.json").read_text("utf-8")), "utf-8")
    first, *others = (run / "turns.jsonl").read_text("utf-8").splitlines()
    (run / "turns.jsonl").write_text("\n".join([_fill(TurnRecord, first), *others]) + "\n", "utf-8")
    assert (run / "run.json").read_text("utf-8").count("onerror") > 30
    assert (run / "turns.jsonl").read_text("utf-8").count("onerror") > 5
    report.render_report(run, tmp_path / "run.html")
    page, messages = open_page(browser, (tmp_path / "run.html").as_uri())
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    for summary in page.locator("summary").all():
        summary.evaluate("element => element.click()")
    assert messages == []
    assert page.evaluate("window.hit === undefined")
    assert page.locator("img, iframe, object, embed, a[href^='javascript']").count() == 0
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_opens_clean(browser: Any, page_url: str, scheme: str, width: int) -> None:
    """Light and dark, phone to desktop: a silent console, no request, no sideways scrolling, one size of chart."""
    page, messages = open_page(browser, page_url, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert messages == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title().startswith("MEASURED")
    shown = page.locator(".chart svg:visible")
    assert shown.count() == page.locator(".chart").count()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) == (scheme == "dark")
    page.context.close()


def test_a_wide_table_shows_on_a_phone_that_it_continues(browser: Any, page_url: str) -> None:
    """The stage table scrolls sideways at 390 px, and a line above it says so; where it fits, nothing does."""
    for width, says in ((390, True), (1280, False)):
        page, _ = open_page(browser, page_url, viewport={"width": width, "height": 800})
        table = "document.querySelector('.scroll:has(.stages)')"
        assert page.evaluate(f"{table}.scrollWidth > {table}.clientWidth") is says
        assert ("columns to the right" in page.evaluate(f"getComputedStyle({table}, '::before').content")) is says
        page.context.close()


def test_turn_table_filters_and_sorts(browser: Any, page_url: str) -> None:
    """Choosing an outcome leaves its turns, words search the texts, a heading sorts by number."""
    page, messages = open_page(browser, page_url)
    page.select_option("#f-outcome", "missed")
    assert page.locator("#turns tbody tr:visible").count() == 1
    page.select_option("#f-outcome", "")
    page.fill("#f-words", "document.title")
    assert page.locator("#turns tbody tr:visible").count() == 1
    page.fill("#f-words", "")
    page.click("#turns th:nth-child(4) button")
    cells = page.locator("#turns tbody tr td:nth-child(4)").all_inner_texts()
    numbers = [float(cell) for cell in cells if cell != "–"]
    assert numbers == sorted(numbers)
    assert cells[-1] == "–"
    page.click("#raw summary")
    sync_api.expect(page.locator("#raw-text")).to_contain_text("schema_version")
    assert messages == []
    page.context.close()


def test_audio_plays_from_a_pin(browser: Any, page_url: str) -> None:
    """The browser decodes the embedded audio, and a pin starts it a second before."""
    page, messages = open_page(browser, page_url)
    page.click(".pins button >> nth=0")
    _until(page, "document.querySelector('audio').currentTime >= 1")
    assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(7.0, abs=0.1)
    assert messages == []
    page.context.close()


def test_readable_without_scripts(browser: Any, page_url: str) -> None:
    """Without JavaScript verdict, charts and all rows are there, and no dead control is."""
    page, _ = open_page(browser, page_url, java_script_enabled=False)
    assert page.locator("#turns tbody tr:visible").count() == 12
    assert page.locator(".filters:visible").count() == 0
    assert page.locator("button:visible").count() == 0
    assert page.locator(".verdict .word").inner_text() == "MEASURED"
    page.context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_the_report(browser: Any, page_url: str, theme: str) -> None:
    """No rule of axe-core is broken, with every part unfolded; on a phone, where the most scrolls."""
    page, _ = open_page(browser, page_url, color_scheme=theme, viewport={"width": 390, "height": 800})
    assert find_violations(page) == []
    page.context.close()
