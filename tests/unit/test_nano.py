"""The recipe's rules, and that the committed student is what it claims to be."""

from __future__ import annotations

import numpy as np
import pytest

from apo_lightning.metrics.labeler import parse
from apo_lightning.nano.skills import biased_view, consensus, reconcile
from apo_lightning.phantom.wording import REFUSALS
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.processor import NANO
from apo_lightning.types import Detail

LEFT = Detail("left", "mild")
RIGHT = Detail("right", "severe")


def test_consensus_by_hand() -> None:
    """Edema is claimed by two of three, pneumonia by one, atelectasis by all with right named most often."""
    claims = [
        {"atelectasis": RIGHT, "edema": Detail(None, "mild")},
        {"atelectasis": LEFT, "pneumonia": LEFT},
        {"atelectasis": RIGHT, "edema": Detail(None, "mild")},
    ]
    assert consensus(claims) == {"atelectasis": RIGHT, "edema": Detail(None, "mild")}
    assert consensus(claims[:2]) == {"atelectasis": RIGHT}  # one of two is not most


@pytest.mark.parametrize("readers", [1, 4, 7])
def test_the_reconciled_report_states_what_most_readers_state(readers: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        reports, answer = reconcile(rng, readers)
        speaking = [parse(text, FINDINGS) for text in reports if text not in REFUSALS]
        stated = parse(answer, FINDINGS)
        for finding in FINDINGS:
            yes = sum(row[finding] == 1 for row in speaking)
            assert stated[finding] == float(2 * yes > len(speaking))


def test_the_taught_bias_is_as_wrong_as_promised() -> None:
    found = cases(9, 3000)
    right = [np.mean([(f in case.present) == (f in biased_view(case.present)) for case in found]) for f in FINDINGS]
    assert 0.60 <= np.mean(right) <= 0.74
    assert max(right) < 0.85


def test_the_committed_student_is_small() -> None:
    assert sum(path.stat().st_size for path in NANO.iterdir()) < 10_000_000
