"""Short everyday answers and where they may be cut off; and random ones of the same parts."""

from __future__ import annotations

import random
from collections.abc import Iterator

LISTS_AND_TABLES = (
    "No evidence of:\n- edema\n- pleural effusion\n- pneumothorax\n",
    "**Absent**\n- edema\n- consolidation\n\n**Present**\n- cardiomegaly\n",
    "Present:\n1. edema\n2. pneumonia\nAbsent:\n1. pneumothorax\n2. mass\n",
    "Negative:\n\u2022 edema\n\u2022 pneumonia\n\nNormal:\n* heart\n* lungs\n",
    "### Findings\n\n| Finding | Present | Confidence |\n|---|:---:|---|\n| Edema | No | 0.9 |\n| Effusion | Yes | |\n",
    "| Edema | Effusion |\n|---|---|\n| no | left |\n",
    "Finding | Present | Absent\n--- | --- | ---\nEdema | | x\nMass | x | \n",
    '```json\n{"findings": [{"name": "edema", "present": false}], "absent": ["pneumonia", ""], "": []}\n```\n',
    "- [x] Edema\n- [ ] Pneumonia\n\u2705 Effusion \u274c Mass\nPneumothorax (-)\n",
    "**Edema**\n- no\n\n**Effusion**:\n- \n\n1. **Mass**: absent\n2. **Pneumonia**:\n",
    "<think>Edema?</think>\nNot assessed:\na) mass\nb) nodule\nedema, no, 0.9\n<mass>no</mass>\n",
    "Edema has improved, effusion is unchanged.\nImpression:\n- Normal chest.\n",
)
"""Every beginning of one of these is an answer that ran into its limit of tokens."""

_PARTS = (
    *("- ", "-", "* ", "\u2022 ", "\u2022", "+", "> ", "1. ", "2.", "3) ", "a) ", "b.", "\u2013 "),
    *("|", " | ", "||", "|---|", "---", ":--:", "---|", "=", "+--+", ":", ": ", ",", ";", ".", "?", "\u2014"),
    *("# ", "### ", "**", "*", "__", "`", "```", "```json", "~~~", '"', "'", "(", ")", "\\n", "\u2026", "/"),
    *("{", "}", "[", "]", "{}", "[]", '{"', '": ', '"edema": ', '["', "null", "<mass>", "</mass>", "<think>"),
    *("</think>", "[x]", "[ ]", "(+)", "(-)", "\u2705", "\u274c", "\ufe0f", "\u0130", "\U0001f44d", "++", "-1"),
    *("Absent:", "**Absent**", "No evidence of:", "Present:", "Negative", "Normal:", "no:", "Not assessed:", "N/A"),
    *("no", "No", "yes", "absent", "normal", "not seen", "0.9", "85 %", "0", "x", "left", "right", "bilateral"),
    *("Finding", "Status", "Confidence", "Side", "edema", "Edema", "pleural effusion", "mass", "heart", "lungs"),
    *("Pneumothorax", "no_finding", "Impression:", "clear", "is", "and", "increased", "unchanged", "new", "no longer"),
)
_JOINTS = ("", "", " ", "\n", "\n", "\n\n", "\t", "\r\n", "\n  ")


def beginnings_and_ends() -> Iterator[str]:
    """All that a cut may leave of `LISTS_AND_TABLES`."""
    for text in LISTS_AND_TABLES:
        for at in range(len(text) + 1):
            yield text[:at]
            yield text[at:]


def random_texts(seed: int) -> Iterator[str]:
    """Without end: one to twelve parts each."""
    chosen = random.Random(seed)
    while True:
        parts = chosen.choices(_PARTS, k=chosen.randint(1, 12))
        yield "".join(part + chosen.choice(_JOINTS) for part in parts).rstrip(chosen.choice((" ", "\n", "\0")))
