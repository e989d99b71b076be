"""Pages in a real browser: Debian's Chromium, and what a page says and asks for while it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium (Debian package chromium)")


def open_page(browser: Any, url: str, **options: Any) -> tuple[Any, list[str]]:
    """Open `url` in a context of its own; return the page, and all that its console, errors and requests say."""
    page = browser.new_context(**options).new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url) if request.url.startswith("http") else None)
    page.goto(url)
    return page, messages
