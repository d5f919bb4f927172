"""Who is measured: this project's scorer, separate sequences, TRL's DPOTrainer, and the floor.

All of them run the same random network in float32 on the same image and texts, which are tensors beforehand. A step is
forward, loss and backward, without the optimiser.

- separate: every answer with its own prompt and image through the model's own forward, one at a time. The slope of the
  loss is taken as given, so it needs no first pass, and the head sees answer tokens only.
- joint, branchwise (one, or four answers at a time): `apo_lightning.scoring` under the listwise loss. Reference
  log-probs are known, as a cache gives them; ``filling`` is the pass that fills the cache.
- trl: DPOTrainer.training_step over the N pairs, one pair at a time, with the reference pass that it makes for each
  (it refuses to know reference log-probs beforehand where there are images). ``trl_checkpointed`` recomputes layers,
  which is its default. Both compute in float32, and without its default cut at 1,024 tokens. Its head computes
  prompt positions too on a CPU, which it would not on a GPU.
- floor: the tokens of the study, prompt once, at the rate of a plain causal pass over one sequence of text.
"""

from __future__ import annotations

import copy
import os
import tempfile
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from common import Setup, adapter, base, free_language, fresh, processor, texts, to_batch, trainable
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BatchFeature, ProcessorMixin

from apo_lightning.functional.preference import implicit_rewards, listwise_nll
from apo_lightning.models.processor import JoinedProcessor
from apo_lightning.scoring import score

BETA = 0.1
MODES: dict[str, tuple[str, int | None]] = {
    "joint": ("joint", None),
    "packed": ("packed", None),
    "branchwise_1": ("branchwise", 1),
    "branchwise_4": ("branchwise", 4),
}
OURS = ("separate", *MODES, "filling", "floor")
TRL = ("trl", "trl_checkpointed")


class Ours:
    """The contenders that need no TRL, on one model."""

    def __init__(self, setup: Setup) -> None:
        own = processor()
        self.setup, self.batch, self.model = setup, to_batch(setup, own), trainable(setup, own)
        self.frozen = copy.deepcopy(self.model) if setup.full else None
        self.reference = torch.zeros(self.batch.weight.shape)  # until `fill`; its values do not change the cost
        self.grad_wrt_logps = torch.ones(self.batch.weight.shape)

    def step(self, name: str) -> Any:
        """Run contender ``name`` once; gradients add up in the model. Returns log-probs ``[1, U]`` where it has any."""
        if name in MODES:
            mode, rows = MODES[name]
            logps = score(self.model, fresh(self.batch), mode=mode, rows=rows).logps
            self.loss(logps).backward()
            return logps.detach()
        return {"separate": self.separate, "filling": self.filled, "floor": self.plain}[name]()

    def loss(self, logps: Tensor) -> Tensor:
        rewards = implicit_rewards(logps, self.reference, BETA)
        return listwise_nll(rewards, self.batch.weight[:, 1:], self.batch.present[:, 1:]).mean()

    def filled(self) -> Tensor:
        """Log-probs under the frozen student, ``[1, U]``."""
        without: AbstractContextManager = torch.no_grad() if self.setup.full else self.model.disable_adapter()
        with torch.no_grad(), without:
            return score(self.frozen or self.model, fresh(self.batch)).logps

    def fill(self) -> None:
        """Make the reference the frozen student's log-probs, and the slope that of the loss at them."""
        self.reference = self.filled()
        start = self.reference.clone().requires_grad_()
        (self.grad_wrt_logps,) = torch.autograd.grad(self.loss(start), start)

    def separate(self) -> Tensor:
        found = [self._whole_sequence(u) for u in range(self.batch.weight.shape[1])]
        return torch.stack(found)[None]

    def _whole_sequence(self, branch: int) -> Tensor:
        batch = self.batch
        ids = torch.cat([batch.prefix_ids, batch.branch_ids[:, branch]], 1)
        images = ids == self.model.config.image_token_id
        logps = self._answer_logps(ids, mm_token_type_ids=images.int(), **batch.vision)
        (self.grad_wrt_logps[0, branch] * logps).backward()
        return logps.detach()

    def _answer_logps(self, ids: Tensor, **inputs: Any) -> Tensor:
        """Sum over the answer, which ends the sequence ``[1, P + T]``."""
        kept = self.setup.answer + 1
        logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=kept, **inputs).logits
        return -F.cross_entropy(logits[0, :-1].float(), ids[0, 1 - kept :], reduction="sum")

    def plain(self) -> None:
        """Forward and backward over one sequence of text as long as prompt and answer."""
        text = self.batch.branch_ids.flatten().repeat(1 + self.setup.prompt // self.setup.answer)
        self._answer_logps(text[None, : self.setup.prompt + self.setup.answer]).backward()

    def tokens_over_plain(self) -> float:
        """All tokens of the study, prompt once, over those of `plain`."""
        return (self.setup.prompt + self.batch.branch_mask.sum().item()) / (self.setup.prompt + self.setup.answer)


class Processor(ProcessorMixin):
    """What TRL takes as a processor: a tokenizer and an image processor that need no torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None) -> None:
        super().__init__(image_processor, tokenizer)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        if images is None:
            return BatchFeature(self.tokenizer(text, **kwargs))
        own = JoinedProcessor(self.image_processor, self.tokenizer)
        made = own(text=text, images=[image for row in images for image in row], **kwargs)
        placeholder = self.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        return BatchFeature({**made, "mm_token_type_ids": (made["input_ids"] == placeholder).int()})


class BesideTRL:
    """TRL's DPOTrainer on the same network and study."""

    def __init__(
        self, setup: Setup, *, checkpointed: bool, network: nn.Module | None = None, on_cpu: bool = True
    ) -> None:
        """``network``: frozen, instead of a fresh one; ``on_cpu``: False leaves the device to TRL."""
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        own, self.setup = processor(), setup
        study, end = texts(setup, own), own.tokenizer.eos_token
        preferred, *others = [text + end for text in study.answers]
        pairs = [dict(prompt=study.prompt, chosen=preferred, rejected=o, images=[study.image]) for o in others]
        network = base(setup, own) if network is None else network
        change = dict(ref_model=copy.deepcopy(network)) if setup.full else dict(peft_config=adapter(network))
        options = DPOConfig(
            tempfile.mkdtemp(),
            beta=BETA,
            bf16=False,
            use_cpu=on_cpu,
            max_length=None,
            report_to="none",
            per_device_train_batch_size=1,
            gradient_accumulation_steps=len(pairs),
            gradient_checkpointing=checkpointed,
            seed=setup.seed,
        )
        with patch.dict(os.environ, CI="1"):  # or it reports the trainer to its makers
            self.trainer = DPOTrainer(
                model=free_language(network) if setup.full else network,
                args=options,
                **change,
                train_dataset=Dataset.from_list([dict(pairs[0], images=[])]),  # the constructor looks at its columns
                processing_class=Processor(own.image_processor, own.tokenizer),
            )
        if checkpointed:  # Trainer.train would do it, and a step alone does not
            self.model.gradient_checkpointing_enable(self.trainer.args.gradient_checkpointing_kwargs)
        self.trainer.current_gradient_accumulation_steps = len(pairs)
        self.inputs = [self.trainer.data_collator([dict(pair)]) for pair in pairs]

    @property
    def model(self) -> nn.Module:
        return self.trainer.model

    def step(self, _: str = "") -> None:
        for pair in range(len(self.inputs)):
            self.pair(pair)

    def pair(self, place: int) -> Tensor:
        """One pair, forward, reference, loss and backward. Returns the log-probs ``[2]`` that TRL logs."""
        self.trainer.training_step(self.model, dict(self.inputs[place]))
        logged = self.trainer._metrics["train"]
        return torch.tensor([logged["logps/chosen"][-1], logged["logps/rejected"][-1]])


def contender(name: str, setup: Setup) -> Ours | BesideTRL:
    """Model and data of one contender, by its name in `OURS` or `TRL`."""
    return BesideTRL(setup, checkpointed=name == "trl_checkpointed") if name in TRL else Ours(setup)
