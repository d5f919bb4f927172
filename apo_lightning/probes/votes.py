"""What most of several sampled answers say: their share is a score, too."""

from __future__ import annotations

from dataclasses import replace

from apo_lightning.settings import DecodingSettings, EvaluateSettings


def sampling(plan: EvaluateSettings) -> DecodingSettings:
    """How the answers of a vote are written: sampled, all else as the one answer."""
    how = DecodingSettings(**plan.decoding())
    return replace(how, sample=True, temperature=plan.sampling.temperature, top_p=plan.sampling.top_p)
