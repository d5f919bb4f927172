"""Our divergences and the loss of TRL's GKDTrainer, on the same logits."""

from __future__ import annotations

import pytest
import torch

from apo_lightning.functional.divergence import divergence_rows
from tests.helpers.given_logits import given_logits

gkd = pytest.importorskip("trl.experimental.gkd")


@pytest.mark.parametrize(("kind", "mix"), [("forward", 0.0), ("reverse", 1.0), ("jensen_shannon", 0.2)])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_equals_trl(kind, mix, temperature):
    """TRL's beta is our mix; at 0 and 1 it switches to the two KLs. Its temperature has no squared factor either."""
    teacher, student = torch.randn(6, 9).double(), torch.randn(6, 9).double().requires_grad_()
    theirs = gkd.GKDTrainer.generalized_jsd_loss(
        student[None], teacher[None], beta=mix, temperature=temperature, reduction="none"
    ).sum(-1)[0]
    settings = {"mix": mix} if kind == "jensen_shannon" else {}
    function = divergence_rows(given_logits(teacher), kind, temperature=temperature, **settings)
    values, slope = function(student.detach().clone(), slice(0, 6), True)
    torch.testing.assert_close(values, theirs, rtol=0, atol=1e-10)
    torch.testing.assert_close(slope, torch.autograd.grad(theirs.sum(), student)[0], rtol=0, atol=1e-10)
