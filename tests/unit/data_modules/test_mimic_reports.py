"""Sections of reports in the form of MIMIC-CXR (made up here), each rule of the parser, and sentences of comparison."""

from __future__ import annotations

import tarfile
from pathlib import Path
from textwrap import fill

import pytest
from defusedxml import ElementTree

from data_modules.archives.mimic_reports import compose, drop_prior_sentences, sections

OPEN_I = Path(__file__).parents[4] / "shared/data/openi_sample/NLMCXR_reports.tgz"
LINE = f" {'_' * 78}\n"
TITLE = f"{' ' * 33}FINAL REPORT\n"
PLAIN = (
    TITLE + " EXAMINATION:  CHEST (PA AND LAT)\n \n"
    " INDICATION:  ___ year old woman with cough.  // rule out\n pneumonia\n \n"
    " TECHNIQUE:  Chest PA and lateral\n \n"
    " COMPARISON:  ___.\n \n"
    " FINDINGS: \n \n The lungs are clear.  There is no\n pleural effusion.\n \n The heart is normal.\n \n"
    " IMPRESSION: \n \n No acute   process.\n"
)


def test_a_plain_report():
    found = sections(PLAIN)
    assert found == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "___ year old woman with cough. // rule out pneumonia",
        "technique": "Chest PA and lateral",
        "comparison": "___.",
        "findings": "The lungs are clear. There is no pleural effusion. The heart is normal.",
        "impression": "No acute process.",
    }
    assert sections(PLAIN.replace("\n", "\r\n")) == found


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("FINDINGS", ["findings"]),
        ("FINDING", ["findings"]),
        ("FINDIGNS", ["findings"]),
        ("IMPRESSION", ["impression"]),
        ("IMPRESSON", ["impression"]),
        ("IMPERSSION", ["impression"]),
        ("CONCLUSION", ["impression"]),
        ("COMPARISION", ["comparison"]),
        ("COMPARISONS", ["comparison"]),
        ("COMPARISON STUDY", ["comparison"]),
        ("PRIOR STUDIES", ["comparison"]),
        ("INDICAITON", ["indication"]),
        ("REASON FOR EXAM", ["indication"]),
        ("CLINICAL INDICATION", ["indication"]),
        ("CLINICAL HISTORY", ["history"]),
        ("HISTROY", ["history"]),
        ("TECHINQUE", ["technique"]),
        ("EXAM", ["examination"]),
        ("STUDY", ["examination"]),
        ("RECOMMENDATION(S)", ["recommendation"]),
        ("NOTIFICATION", ["notification"]),
        ("ADDENDUM", ["addendum"]),
        ("PROVISIONAL FINDINGS IMPRESSION (PFI)", ["wet_read"]),
        ("FINDINGS AND IMPRESSION", ["impression", "findings"]),
        ("IMPRESSION/FINDINGS", ["impression", "findings"]),
        ("FINDINGS AND IMPRESSON", ["impression", "findings"]),
        ("INDICATION AND COMPARISON", ["indication", "comparison"]),
        ("HISTORY, INDICATION", ["history", "indication"]),
        ("Impression", ["impression"]),
        ("LINES AND TUBES", []),
        ("COMPRESSION", []),
        ("No comparison", []),
        ("THE FINDINGS AND IMPRESSION WERE TOLD TO THE TEAM", []),
    ],
)
def test_headings(heading, names):
    """What a heading names; one that names nothing stays in the text before it."""
    found = sections(f"TECHNIQUE: One view.\n\n HISTORY: Cough.\n {heading}: Some text.\n IMPRESSION: End.\n")
    text = {name: words for name, words in found.items() if "Some text" in words}
    assert list(text) == (names or ["history"])
    if not names:
        assert found["history"] == f"Cough. {heading}: Some text."


def test_a_heading_stands_at_the_start_of_a_line_and_is_no_time():
    assert sections("FINDINGS: See IMPRESSION: clear.") == {"findings": "See IMPRESSION: clear."}
    assert sections("FINDINGS:Clear.\n\t  IMPRESSION :Normal.") == {"findings": "Clear.", "impression": "Normal."}
    assert sections("FINDINGS: The tube was placed at\n EXAM 10:45 today.") == {
        "findings": "The tube was placed at EXAM 10:45 today."
    }


def test_sub_headings_stay_in_the_findings():
    text = "FINDINGS:\n LUNGS: Clear.\n CHEST TUBE: None.\n BONES: Intact.\n\n IMPRESSION: Normal."
    assert sections(text) == {"findings": "LUNGS: Clear. CHEST TUBE: None. BONES: Intact.", "impression": "Normal."}


def test_addendum_first_parted_by_underscores():
    text = f"{' ' * 33}FINAL ADDENDUM \n ADDENDUM  The line is in the vein.\n IMPRESSION: see below.\n {LINE}{PLAIN}"
    found = sections(text)
    assert found["addendum"] == "The line is in the vein. IMPRESSION: see below."
    assert {name: words for name, words in found.items() if name != "addendum"} == sections(PLAIN)
    assert sections(f"Not signed.\n{LINE}{PLAIN}")["addendum"] == "Not signed."
    assert sections(f"{PLAIN}{LINE} Signed by ___.\n")["addendum"] == "Signed by ___."


def test_three_underscores_are_removed_text_and_part_nothing():
    text = "FINDINGS: Seen by\n ___\n on ___ at ___.\n ______\n IMPRESSION: Normal."
    assert sections(text) == {"findings": "Seen by ___ on ___ at ___. ______", "impression": "Normal."}


def test_wet_read_before_the_report():
    text = f"{' ' * 30}WET READ: ___ ___ 8:43 PM\n  No pneumothorax.\n{LINE}{PLAIN}"
    assert sections(text) == {"wet_read": "___ ___ 8:43 PM No pneumothorax.", **sections(PLAIN)}
    without_line = f"WET READ: No pneumothorax.\n{PLAIN}"
    assert sections(without_line) == {"wet_read": "No pneumothorax.", **sections(PLAIN)}


def test_wet_read_or_addendum_in_a_report_without_a_line():
    assert sections("WET READ: Clear.\n\n FINDINGS: Clear lungs.") == {"wet_read": "Clear.", "findings": "Clear lungs."}
    text = "ADDENDUM: Told to Dr. ___.\n\n INDICATION: Pain.\n\n IMPRESSION: Normal."
    assert sections(text) == {"addendum": "Told to Dr. ___.", "indication": "Pain.", "impression": "Normal."}
    assert sections(f"ADDENDUM: Only this.\n{LINE}") == {"addendum": "Only this."}
    assert sections("WET READ: Only this.") == {"wet_read": "Only this."}


def test_merged_headings_give_both_names_the_text_and_a_report_has_it_once():
    found = sections(f"{TITLE} INDICATION: Cough.\n\n FINDINGS AND IMPRESSION:\n Clear lungs.")
    assert found == {"indication": "Cough.", "impression": "Clear lungs.", "findings": "Clear lungs."}
    assert compose(found, ["findings", "impression"], drop_comparisons=False) == "Clear lungs."


def test_a_heading_of_views_is_the_findings_where_no_other_is():
    text = "HISTORY: Cough.\n\n PA AND LATERAL CHEST RADIOGRAPHS: Clear lungs.\n\n{} IMPRESSION: Normal."
    assert sections(text.format("")) == {"history": "Cough.", "findings": "Clear lungs.", "impression": "Normal."}
    assert sections(text.format("FINDINGS: No effusion.\n")) == {
        "history": "Cough.",
        "examination": "Clear lungs.",
        "findings": "No effusion.",
        "impression": "Normal.",
    }


def test_views_are_the_findings_before_loose_paragraphs_are():
    text = "PORTABLE CHEST: Clear lungs.\n\n HISTORY: Cough.\n\n Fever.\n\n IMPRESSION: Normal."
    assert sections(text) == {"findings": "Clear lungs.", "history": "Cough. Fever.", "impression": "Normal."}


def test_paragraphs_without_a_heading_before_the_impression_are_the_findings():
    text = f"{TITLE} AP CHEST, 9:32 A.M., ___.\n \n HISTORY: Cough.\n Fever.\n \n{{}} IMPRESSION: Normal."
    loose = " Clear lungs.\n \n Normal heart.\n"
    assert sections(text.format(loose)) == {
        "examination": "AP CHEST, 9:32 A.M., ___.",
        "history": "Cough. Fever.",
        "findings": "Clear lungs. Normal heart.",
        "impression": "Normal.",
    }
    assert "findings" not in sections(text.format(""))
    with_findings = sections(text.format(f"{loose} FINDINGS: No effusion.\n"))
    assert with_findings["history"] == "Cough. Fever. Clear lungs. Normal heart."
    assert with_findings["findings"] == "No effusion."


def test_an_empty_findings_heading_counts_as_none():
    text = "COMPARISON: None.\n\n PORTABLE CHEST: Clear lungs.\n FINDINGS:\n IMPRESSION: Normal."
    assert sections(text) == {"comparison": "None.", "findings": "Clear lungs.", "impression": "Normal."}


def test_last_paragraph_where_neither_findings_nor_impression_is():
    text = f"{TITLE} HISTORY: Cough.\n \n COMPARISON: ___.\n \n Clear lungs.\n \n Normal heart.\n"
    assert sections(text) == {"history": "Cough.", "comparison": "___.", "last_paragraph": "Clear lungs. Normal heart."}
    assert sections(f"{TITLE} CHEST RADIOGRAPH\n \n Clear lungs.") == {
        "examination": "CHEST RADIOGRAPH",
        "last_paragraph": "Clear lungs.",
    }
    assert sections(f"{TITLE} Clear lungs.\n") == {"last_paragraph": "Clear lungs."}
    assert sections("HISTORY: Cough.") == {"history": "Cough."}
    assert sections(f"{text} IMPRESSION:\n") == sections(text.replace("\n", "\r\n")) == sections(text)


@pytest.mark.parametrize("empty", ["", "\n \n", TITLE, LINE, "FINDINGS:\n IMPRESSION:\n"])
def test_nothing_gives_nothing(empty):
    assert sections(empty) == {}


def test_a_section_that_comes_twice_is_joined():
    text = "FINDINGS: One.\n\n IMPRESSION: Two.\n\n FINDINGS: Three.\n"
    assert sections(text) == {"findings": "One. Three.", "impression": "Two."}


def test_compose_takes_sections_in_the_order_asked_for():
    found = sections(PLAIN)
    assert compose(found, ["impression", "technique"], drop_comparisons=False) == (
        "No acute process.\nChest PA and lateral"
    )
    assert compose(found, ["addendum"], drop_comparisons=False) is None
    stable = {"findings": "Stable heart. Clear lungs.", "impression": "No change."}
    assert compose(stable, ["findings", "impression"], drop_comparisons=True) == "Clear lungs."
    assert compose(stable, ["impression"], drop_comparisons=True) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "The heart size is unchanged.",
        "Again seen is a right effusion.",
        "As compared to the previous radiograph, the tube is in place.",
        "In comparison with the study of ___, there is little change.",
        "There has been interval removal of the tube.",
        "Stable cardiomegaly.",
        "The previously described nodule is calcified.",
        "Opacity is new since ___.",
        "There is a new left effusion.",
        "Effusions have slightly increased.",
        "The edema has improved.",
        "Worsening consolidation.",
        "The pneumothorax has resolved.",
        "The patient has been extubated.",
        "Left basal atelectasis persists.",
        "Cardiomegaly remains.",
        "Nodules have increased in size.",
        "No significant change.",
        "No change in the left effusion.",
        "The nodule is not seen on the prior.",
        "Effusion, larger than on the prior ___.",
        "The film is rotated as on the old radiograph.",
        "A catheter is no longer seen.",
        "Dr. ___ was told that the line is still low.",
    ],
)
def test_sentences_that_compare_are_dropped(sentence):
    assert drop_prior_sentences(f"Clear lungs. {sentence} Normal heart.") == "Clear lungs. Normal heart."


@pytest.mark.parametrize(
    "sentence",
    [
        "Mild degenerative changes of the spine.",
        "There is evidence of prior sternotomy.",
        "Calcified nodes from prior granulomatous disease.",
        "Old healed rib fractures.",
        "Increased interstitial markings.",
        "Decreased lung volumes.",
        "Postoperative changes are present.",
        "The remainder of the lungs is clear.",
        "Previous coronary surgery.",
        "Recent surgery is likely.",
        "Dr. ___ was told at 5.30 p.m. by telephone.",
        "The tube ends 2.5 cm above the carina.",
    ],
)
def test_what_one_image_shows_of_the_past_stays(sentence):
    assert drop_prior_sentences(f"Stable heart. {sentence} No change.") == sentence


def test_points_of_a_list_are_numbered_anew():
    text = "1. Stable heart.  2. Clear\n lungs. New line. 3. Interval change. 4. No effusion at rib 7. Normal spine."
    assert drop_prior_sentences(text) == "1. Clear lungs. 2. No effusion at rib 7. Normal spine."
    assert (
        drop_prior_sentences("1. Stable heart. Small effusion. 2. Clear lungs.") == "1. Small effusion. 2. Clear lungs."
    )
    assert drop_prior_sentences("In summary: 1) Unchanged. 2) Clear.") == "In summary: 1. Clear."
    assert drop_prior_sentences("Unchanged. Stable.") == drop_prior_sentences("") == ""


@pytest.mark.skipif(not OPEN_I.is_file(), reason="the real reports are not here")
def test_real_reports_written_with_headings_are_read_back():
    """3,955 Open-I reports, wrapped into lines of 79: every section comes back, none is invented. One has a whole
    report, headings and all, in its impression."""
    read, wrong = 0, []
    with tarfile.open(OPEN_I) as archive:
        for member in (member for member in archive if member.name.endswith(".xml")):
            root = ElementTree.fromstring(archive.extractfile(member).read())
            told = {part.get("Label"): " ".join((part.text or "").split()) for part in root.iter("AbstractText")}
            lines = [fill(f" {label}:  {words}", 79, break_on_hyphens=False) for label, words in told.items()]
            if sections(TITLE + "\n \n".join(lines)) != {
                label.lower(): words for label, words in told.items() if words
            }:
                wrong.append(member.name)
            read += 1
    assert (read, wrong) == (3_955, ["ecgen-radiology/2415.xml"])
