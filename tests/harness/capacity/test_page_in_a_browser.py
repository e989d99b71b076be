"""The page of a capacity run in headless Chromium: it fits a phone, nothing fails, everybody can use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turngap.capacity import page

from tests.harness.accessibility import THEMES, find_violations
from tests.harness.capacity.test_page import searched

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.xdist_group("capacity-page"),
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium (Debian package chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing (dependency group test)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_the_page(browser: Any, tmp_path: Path, theme: str, width: int) -> None:
    """No rule of axe-core is broken, nothing is written to the console, and the page is not wider than the screen."""
    path = tmp_path / "capacity.html"
    path.write_text(page.render_capacity_page([searched()]), encoding="utf-8")
    opened = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800}).new_page()
    messages: list[str] = []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.goto(path.as_uri())
    assert find_violations(opened) == []
    assert messages == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.context.close()
