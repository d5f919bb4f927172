"""A headless Chromium; tests are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Playwright's own Chromium, or the one of the machine."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra [dev])")
    own = next(filter(None, map(shutil.which, NAMES)), None)
    with api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium starts here: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file; the page's ``requests`` and ``errors`` hold what it asked for and what its console complained of.
    At the end of the test both must be empty."""
    contexts, pages = [], []

    def open_page(path: Path, *, width: int = 1440, height: int = 900, scheme: str = "light", hash: str = "") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.requests, page.errors = [], []
        address = path.as_uri() + hash
        page.on("request", lambda asked: _note(page.requests, asked.url, address))
        page.on("console", lambda said: page.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("dialog", lambda dialog: (page.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    found = [(page.requests, page.errors) for page in pages]
    for context in contexts:
        context.close()
    assert found == [([], [])] * len(found)


def _note(requests: list[str], url: str, address: str) -> None:
    if not url.startswith("data:") and url.split("#")[0] != address.split("#")[0]:
        requests.append(url)
