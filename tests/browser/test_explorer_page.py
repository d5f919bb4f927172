"""The explorer in a browser: filters, keyboard, the address, a thousand studies, hostile texts, a phone and print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo_lightning import reports
from tests.helpers.explorer_run import make, study

HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b> \u202eNo edema."
AGREED = {"ann": "Edema. No pneumonia.", "bob": "Edema. No pneumonia.", "cat": "Edema. No pneumonia."}
WELL = {"edema": 0, "pneumonia": 0, "pleural_effusion": 0}
RIGHT_AFTER = {"base": "Normal chest.", "spd": "Edema.", "apo": "No edema. No pneumonia. No effusion."}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """s0 to s2: edema, the teachers disagree. s3: edema, they agree. s4: nothing is there, SPD says edema, APO does
    not. s5: edema, hostile, one teacher says so, one denies it and one refuses."""
    studies = [study(f"s{i}") for i in range(3)]
    studies += [study("s3", teachers=AGREED), study("s4", truth=WELL, answers=RIGHT_AFTER)]
    studies += [
        study(
            f"s5 {HOSTILE}",
            teachers={"eve": HOSTILE, "ann": "Edema.", "dan": "I cannot interpret medical images."},
            report=f"Zebra. {HOSTILE}",
        )
    ]
    folder = make(tmp_path_factory.mktemp("few"), studies)
    rows = (folder / "apo/seed0/evaluate/predictions.jsonl").read_text().splitlines()
    assert len(rows) == 6
    likely = '{"study": "s4", "p": {"edema": 0.81, "pneumonia": 0.1, "pleural_effusion": 0.2}}\n'
    (folder / "apo/seed0/evaluate/statements.jsonl").write_text(likely)
    return reports.write(folder)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand studies with texts of their own."""
    studies = [
        study(f"s{i:04d}", truth={"edema": i % 2, "pneumonia": 0, "pleural_effusion": None}, report=f"Report {i:04d}.")
        for i in range(1000)
    ]
    return reports.write(make(tmp_path_factory.mktemp("many"), studies))


def count(page: Any) -> str:
    return page.locator("#xp-count").inner_text()


def name(page: Any) -> str:
    return page.locator("#xp-name").inner_text()


def choose(page: Any, control: str, label: str) -> None:
    page.locator(f"#xp-{control}").select_option(label=label)


FILTERS = {
    "finding present": ([("finding", "edema (5 present)"), ("truth", "present")], 5),
    "finding absent": ([("finding", "edema (5 present)"), ("truth", "absent")], 1),
    "nothing present": ([("truth", "absent")], 1),
    "without a label": ([("finding", "pleural effusion (0 present)"), ("truth", "not labelled")], 5),
    "teachers agree": ([("finding", "edema (5 present)"), ("split", "all who speak of it agree")], 1),
    "teachers disagree": ([("split", "disagree: 1 or more against the rest")], 5),
    "a teacher was wrong": ([("who", "bob")], 4),
    "a teacher was wrong on one finding": ([("finding", "pneumonia (0 present)"), ("who", "cat")], 4),
    "an arm was right": ([("who", "APO"), ("was", "right on all asked")], 6),
    "before wrong and after right": (
        [("finding", "edema (5 present)"), ("who", "SPD"), ("who2", "APO"), ("was2", "right on all asked")],
        6,
    ),
    "no teacher was wrong": ([("who", "any teacher"), ("was", "wrong")], 5),
    "a refusal is wrong on what is absent too": ([("finding", "pneumonia (0 present)"), ("who", "dan")], 1),
    "a refusal": ([("who", "dan"), ("was", "refused or said nothing")], 1),
    "majority": ([("who", "majority of the teachers")], 5),
    "text and likelihood": ([("who", "APO"), ("was", "text and likelihood differ")], 1),
}


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_find_what_they_say(few: Path, opened: Callable[..., Any], kind: str) -> None:
    page = opened(few)
    assert count(page) == "6 of 6 studies"
    chosen, found = FILTERS[kind]
    for control, label in chosen:
        choose(page, control, label)
    assert count(page) == f"{found} of 6 studies"
    assert page.locator("#xp-list button").count() == found
    page.locator("#xp-reset").click()
    page.locator("#xp-count", has_text="6 of 6 studies").wait_for()


def test_search_looks_into_all_texts(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few)
    for words, found in (("zebra", 1), ("EDEMA AND PNEUMONIA", 4), ("s3", 1), ("nowhere", 0), ("", 6)):
        page.locator("#xp-q").fill(words)
        page.locator("#xp-count", has_text=f"{found} of 6 studies").wait_for()
    page.locator("#xp-q").fill("nowhere")
    page.locator("#xp-name", has_text="No study fits").wait_for()


def test_sentences_are_marked_by_line_sign_and_words(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few)
    bob = page.locator("dt", has_text="bob").locator("+ dd")
    wanted = "No edema.\u2717\u2260 [wrong, contradicted] Pneumonia.\u2717\u2260 [wrong, contradicted]"
    assert " ".join(bob.locator(".xp-text").text_content().split()) == wanted
    lines = [bob.locator(".xp-mark").nth(i).evaluate("n => getComputedStyle(n).textDecorationStyle") for i in (0, 1)]
    assert lines == ["wavy", "wavy"]
    cat = page.locator("dt", has_text="cat").locator("+ dd")
    kinds = [mark.get_attribute("class") for mark in cat.locator(".xp-mark").all()]
    assert kinds == ["xp-mark mixed clash", "xp-mark open"]
    cat.locator("summary").click()
    assert cat.locator("li").first.inner_text() == (
        "\u201cEdema and pneumonia.\u201d edema present: right; 1 of 2 other teachers contradict. "
        "pneumonia present: wrong, truth absent; contradicts t+; 1 of 2 other teachers contradict"
    )
    legend = page.locator("#xp-legend").inner_text()
    assert all(word in legend for word in ("solid", "wavy", "double", "dotted", "dashed"))


def test_the_student_before_and_after_stands_beside_the_likelihood(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few, hash="#studies?study=s4")
    assert name(page) == "s4"
    assert page.locator("#xp-before option:checked").inner_text() == "SPD"
    assert page.locator("#xp-after option:checked").inner_text() == "APO"
    row = page.locator("tr", has=page.locator("th", has_text="edema")).locator("td").all_inner_texts()
    assert [" ".join(cell.split()) for cell in row][-1].endswith("p 0.81")
    choose(page, "after", "Base")
    assert page.locator("dt", has_text="Base").count() == 1


def test_keyboard(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert name(page) == "s1" and page.locator("#xp-said").inner_text() == "Study s1, 2 of 6"
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.locator("#xp-q").input_value() == "jk" and page.evaluate("document.activeElement.id") == "xp-q"
    page.keyboard.press("Escape")
    page.locator("#xp-list [aria-current]").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent").startswith(name(page)[:2])
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("End")
    assert name(page).startswith("s5")
    page.keyboard.press("j")
    assert name(page).startswith("s5")  # the last one
    page.locator("#xp-keys").uncheck()
    page.keyboard.press("k")
    assert name(page).startswith("s5")


def test_a_search_that_comes_late_takes_no_focus_away(few: Path, opened: Callable[..., Any]) -> None:
    """The list is made anew a moment after the last letter."""
    page = opened(few)
    page.locator("#xp-q").press("s")
    page.locator("#xp-list [aria-current]").focus()
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"


def test_every_control_is_one_and_has_a_name(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('#studies :is(select, input, button)')]"
        ".filter(e => !(e.labels && e.labels.length && e.labels[0].textContent.trim()) && !e.textContent.trim()).length"
    )
    assert unnamed == 0
    assert page.evaluate("document.querySelectorAll('#studies [onclick], #studies div[role=button]').length") == 0


def test_the_address_holds_what_is_shown(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few)
    choose(page, "finding", "edema (5 present)")
    choose(page, "who", "bob")
    page.keyboard.press("Escape")
    page.locator("#xp-next").click()
    page.wait_for_url(lambda url: "study=s1" in url)
    again = opened(few, hash=page.evaluate("location.hash"))
    assert (count(again), name(again)) == (count(page), "s1") == ("3 of 6 studies", "s1")
    assert again.locator("#xp-who option:checked").inner_text() == "bob"


@pytest.mark.parametrize(
    "hash", ["#studies?finding=x&who=99&truth=%00&study=zz&__proto__=1", "#studies?%E0%A4%A", "#studies?", "#other?a=b"]
)
def test_an_address_from_elsewhere_breaks_nothing(few: Path, opened: Callable[..., Any], hash: str) -> None:
    page = opened(few, hash=hash)
    assert count(page) == "6 of 6 studies" and name(page) == "s0"


def test_a_hostile_text_shows_as_text(few: Path, opened: Callable[..., Any]) -> None:
    """No element comes of it; an alert would be an error of the page."""
    page = opened(few)
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    page.locator("#xp-name", has_text="s5").wait_for()
    seen = HOSTILE.replace("\u202e", "\\u202e")
    assert name(page) == f"s5 {seen}"
    said = page.locator("dt", has_text="eve").locator("+ dd").locator(".xp-text").text_content()
    assert said.startswith("</script><img src=x onerror=alert(1)><b>bold</b> \\u202eNo edema.")
    assert page.locator("#studies b", has_text="bold").count() == 0
    assert page.locator("#studies img").count() == 1


def test_a_thousand_studies_keep_the_page_light(many: Path, opened: Callable[..., Any]) -> None:
    page = opened(many)
    size = "document.querySelectorAll('#studies *').length"
    assert count(page) == "1,000 of 1,000 studies" and page.evaluate(size) < 1000
    choose(page, "finding", "edema (500 present)")
    choose(page, "truth", "present")
    assert count(page) == "500 of 1,000 studies" and page.locator("#xp-list button").count() == 50
    page.locator("#xp-more").click()
    assert name(page) == "s0101" and page.locator("#xp-page").inner_text() == "51 to 100"
    for _ in range(60):
        page.keyboard.press("j")
    assert name(page) == "s0221" and page.evaluate(size) < 1000
    assert page.locator("#xp-list [aria-current]").inner_text().startswith("s0221")
    assert many.stat().st_size < 12_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_of_it_is_out_of_reach(few: Path, opened: Callable[..., Any], width: int, scheme: str) -> None:
    """The section is no wider than the page; what is wider scrolls in a box of its own, by keyboard too."""
    page = opened(few, width=width, scheme=scheme)
    page.locator("#xp-tally summary").click()
    left, right = page.evaluate(
        "(() => { const r = document.getElementById('studies').getBoundingClientRect(); return [r.left, r.right]; })()"
    )
    assert left >= 0 and right <= width
    outside = page.evaluate(
        "[...document.querySelectorAll('#studies *')].filter(e => !e.closest('.xp-sr, .xp-scroll')"
        f" && e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    boxes = page.locator("#studies .xp-scroll").all()
    assert boxes and all(box.get_attribute("tabindex") == "0" for box in boxes)


def test_print_shows_the_study_and_not_the_controls(few: Path, opened: Callable[..., Any]) -> None:
    page = opened(few, width=760)
    page.emulate_media(media="print")
    for hidden in ("#xp-filters", ".xp-side", "#xp-previous", ".xp-choose"):
        assert not page.locator(hidden).is_visible(), hidden
    for shown in ("#xp-name", "#xp-body img", "#xp-legend"):
        assert page.locator(shown).is_visible(), shown
    assert page.locator(".xp-scroll").first.evaluate("n => n.scrollWidth <= n.clientWidth")
