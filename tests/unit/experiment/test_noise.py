"""What other libraries say at every fit is silent, each by its source, and nothing else is."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from apo_lightning.experiment import noise

TRAINER = "lightning.pytorch.trainer"
MESSAGES = {
    f"{TRAINER}.connectors.data_connector": "The 'train_dataloader' does not have many workers which",
    f"{TRAINER}.configuration_validator": "You passed in a `val_dataloader` but have no `validation_step`",
    "lightning.pytorch.loops.prediction_loop": "Couldn't infer the batch indices fetched from",
    "lightning.pytorch.callbacks.model_checkpoint": "Checkpoint directory /r/a b exists and is not empty.",
    "lightning.pytorch.loops.fit_loop": "Found 12 module(s) in eval mode at the start of training.",
    "lightning.pytorch.utilities._pytree": "`isinstance(treespec, LeafSpec)` is deprecated, use",
    "lightning.pytorch.core.module": "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In",
    "torch.distributed.c10d_logger": "barrier(): using the device under current context. You can",
    "transformers.modeling_utils": "`is_gradient_checkpointing` is deprecated and will be removed in v6.",
}


def heard(module: str, kind: type[Warning], message: str) -> bool:
    """Whether a warning that arises there is shown."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        noise.quiet()
        warnings.warn_explicit(message, kind, f"{module}.py", 1, module=module)
    return bool(found)


@pytest.mark.parametrize("known", noise.WARNINGS, ids=lambda known: known.module)
def test_a_known_warning_is_silent_and_one_of_ours_in_its_words_is_not(known: noise.Known) -> None:
    message = MESSAGES[known.module]
    assert not heard(known.module, known.kind, message)
    assert heard("apo_lightning.stages.base", known.kind, message), "ours"
    assert heard(known.module, RuntimeWarning, message), "of another kind"
    assert heard(known.module, known.kind, f"Something new. {message}"), "what is new of theirs"


@pytest.mark.parametrize("name", noise.NOTES)
def test_a_known_note_is_silent_and_others_of_its_library_are_not(name: str, caplog: pytest.LogCaptureFixture) -> None:
    noise.quiet()
    noise.quiet()
    log = logging.getLogger(name)
    assert len([own for own in log.filters if isinstance(own, noise._Known)]) == 1
    log.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please", "no module")
    log.warning("The weights are broken")
    logging.getLogger("apo_lightning").warning("Failed to load CPU gemm_4bit_forward from kernels-community: x")
    assert [record.name for record in caplog.records] == [name, "apo_lightning"]


@pytest.mark.parametrize("name", ["lightning.pytorch", "lightning.fabric", "transformers", "bitsandbytes", "peft"])
def test_warnings_of_libraries_that_nobody_has_named_are_heard(name: str) -> None:
    noise.quiet()
    assert logging.getLogger(name).isEnabledFor(logging.WARNING)


class Loud(LightningModule):
    """Does what Lightning warns of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.still = nn.Linear(2, 1), nn.Dropout().eval()

    def training_step(self, batch: Any, number: int) -> Any:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> Any:
        own = torch.optim.SGD(self.parameters(), 0.1)
        rate = torch.optim.lr_scheduler.LambdaLR(own, lambda step: 1.0)
        return {"optimizer": own, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def optimizer_step(self, epoch: Any, number: Any, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer_closure()


def test_lightning_itself_is_silenced_where_it_really_speaks() -> None:
    """The table names the files in which these arise; a release that moves them fails here."""
    off = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)

    def said() -> set[str]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            if quiet:
                noise.quiet()
            data = DataLoader(torch.ones(4, 2))
            Trainer(accelerator="cpu", max_steps=2, **off).fit(Loud(), data, data)
        return {str(one.message)[:20] for one in found if "site-packages" in one.filename}

    quiet = False
    before = said()
    quiet = True
    begins = ("You passed in a `val", "Found 1 module(s) in", "Detected call of `lr")
    assert before >= set(begins) and not said() & {own[:20] for own in MESSAGES.values()} and not said() & set(begins)
