"""The report in a browser: fourteen findings at 1440 px, a phone, the keyboard, dark and light, hostile names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo_lightning import reports
from tests.helpers import fake_run, rich_run

HOSTILE = "<img src=x onerror=alert(1)></td><script>alert(2)</script>"
OFF = """() => [...document.querySelectorAll('main *, header *, nav *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && (box.right > window.innerWidth + 1 || box.left < -1);
}).map(e => e.tagName + ' ' + (e.className || e.textContent.slice(0, 30)))"""
UNREACHED = """() => [...document.querySelectorAll('td:not([colspan]), th')].filter(cell => {
  const table = cell.closest('table'), place = cell.closest('.scroll');
  if (!place || !cell.offsetParent) return false;
  place.scrollLeft = cell.offsetLeft - table.rows[0].cells[0].offsetWidth;
  const box = cell.getBoundingClientRect(), view = place.getBoundingClientRect();
  return box.right > view.right + 1 && box.width < view.width || view.right > window.innerWidth + 1;
}).map(cell => cell.textContent)"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight arms, fourteen findings, and all that a page can show; a label and the teachers are hostile."""
    folder = rich_run.make(tmp_path_factory.mktemp("rich"), arms=tuple(fake_run.ARMS), teacher_text=HOSTILE)
    path = folder / "results.csv"
    path.write_text(path.read_text().replace('"SPD, one teacher"', f'"{HOSTILE}"'))
    return reports.write(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_column_is_off_the_page(rich: Path, opened: Callable[..., Any], scheme: str) -> None:
    page = opened(rich, width=1440, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate(OFF) == []
    cut = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(cut) == 0
    assert page.locator("#table-findings + .scroll thead th").count() == 15


def test_every_column_is_reached_on_a_phone(rich: Path, opened: Callable[..., Any]) -> None:
    page = opened(rich, width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(UNREACHED) == []


def test_names_and_texts_are_shown_and_not_run(rich: Path, opened: Callable[..., Any]) -> None:
    """`opened` fails on dialogs, requests and what the console complains of."""
    page = opened(rich)
    theirs = "[...document.scripts].filter(own => own.textContent.trim() === 'alert(2)').length"
    assert page.evaluate(theirs) == 0 and page.locator("img[src=x]").count() == 0
    assert HOSTILE in page.locator("#table-text + p + .scroll").inner_text()
    assert HOSTILE in page.locator("#studies").inner_text()


def test_contents_lead_to_every_part_by_keyboard(rich: Path, opened: Callable[..., Any]) -> None:
    page = opened(rich)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the results"
    for title in page.locator("nav.contents a").all_inner_texts():
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == title
        page.keyboard.press("Enter")
        target = page.evaluate("location.hash")
        assert page.locator(target).count() == 1, title
        page.locator(f"nav.contents a[href='{target}']").focus()
    assert page.locator(".scroll:not([tabindex='0'])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(rich: Path, opened: Callable[..., Any], scheme: str) -> None:
    """A contrast of 4.5, as WCAG 2 asks for."""
    page = opened(rich, scheme=scheme)
    for selector in ("body", ".quiet", ".note b", "td.best", "nav.contents a", ".badge"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    behind = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert behind == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]


CONTRAST = """selector => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255)
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  let element = document.querySelector(selector), behind = element;
  while (behind !== document.body && /rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(behind).backgroundColor))
    behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)].sort();
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
}"""


def test_nothing_is_cut_when_printed(rich: Path, opened: Callable[..., Any]) -> None:
    page = opened(rich, width=1123, height=794)
    page.emulate_media(media="print")
    styles = "[...document.querySelectorAll('.scroll')].every(e => getComputedStyle(e).overflowX === 'visible')"
    assert page.evaluate(styles)
    assert page.locator("nav.contents").is_hidden()
    widest = page.evaluate("Math.max(...[...document.querySelectorAll('.scroll > table')].map(e => e.offsetWidth))")
    assert widest <= 1123 - 90  # A4 across, less its margins
    assert page.locator("details table").first.is_visible() or page.evaluate(
        "!CSS.supports('selector(details::details-content)')"
    )


def test_several_runs_fit_the_page_too(opened: Callable[..., Any], tmp_path: Path) -> None:
    first = fake_run.make(tmp_path / "a", arms=("base", "sft"), seeds=(0,), steps=3)
    other = fake_run.make(tmp_path / "b", arms=("base", "dpo"), seeds=(0,), steps=3)
    written = reports.write_several([first, other])
    for width in (1440, 390):
        page = opened(written, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#run + .abreast > section").count() == 2
