"""Every registered loss says over how many studies its values are means: a batch that is cut gives them back."""

from __future__ import annotations

import torch

from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.stages.step_means import StepMeans
from tests.helpers.loss_batches import batch, each_case, rows, run


@each_case
def test_parts_weighted_by_their_counts_are_the_whole(name, given):
    """Of five studies one has no preferred answer and one no teacher, so the parts count differently. What is drawn at
    random is drawn anew in each part and left out."""
    whole, loss, means = batch(), LOSSES[name](**given), StepMeans()
    drawn = {"loss", "preference"} if "generator" in needs(loss) else set()
    for part in ([0], [1, 2], [3, 4]):
        output, _ = run(loss, rows(whole, part))
        values = {"loss": output.loss.detach(), **output.metrics}
        means.add(values, {key: output.counts.get(key, len(part)) for key in values})
    output, _ = run(loss, whole)
    found = means.take()
    assert found.keys() == {"loss", *output.metrics}
    for key, value in {"loss": output.loss.detach(), **output.metrics}.items():
        if key not in drawn:
            torch.testing.assert_close(found[key], float(value), rtol=1e-5, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")
