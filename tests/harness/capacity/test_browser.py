"""The report of a capacity run in a real browser: clean, on a phone too, and open to everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turngap.capacity import page

from tests.harness.accessibility import THEMES, find_violations
from tests.harness.browser import needs_chromium, open_page
from tests.harness.capacity.test_page import searched

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("sweep-page"),
    needs_chromium,
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The page of a search with every kind of load."""
    path = tmp_path / "capacity.html"
    path.write_text(page.render_capacity_page([searched()]), "utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_opens_clean(browser: Any, file: Path, width: int) -> None:
    """A silent console, no request, no sideways scrolling, one size of the chart."""
    opened, messages = open_page(browser, file.as_uri(), viewport={"width": width, "height": 800})
    assert messages == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator(".chart svg:visible").count() == opened.locator(".chart").count() == 1
    opened.context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_the_page(browser: Any, file: Path, theme: str) -> None:
    """No rule of axe-core is broken."""
    opened = browser.new_context(color_scheme=theme, viewport={"width": 390, "height": 800}).new_page()
    opened.goto(file.as_uri())
    assert find_violations(opened) == []
    opened.context.close()
