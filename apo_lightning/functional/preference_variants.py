"""What varies a preference loss: margins in the place of ``r_+ - r_u``, and which tokens rewards are made of.

Slot 0 is the preferred answer, slots 1..N are the teachers' answers. Margins ``[B, N]`` are functions of rewards
``[B, 1+N]``; `as_rewards` hands them to `pairwise_nll` or `listwise_nll`, which leave out of value and gradient what
does not count, NaN included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.functional.preference import pairwise_nll


def as_rewards(margins: Tensor) -> Tensor:
    """Rewards ``[B, 1+N]`` that are ``margins`` ``[B, N]`` apart from that of slot 0, which is 0."""
    return F.pad(-margins, (1, 0))


def dpop_margins(rewards: Tensor, penalty: float) -> Tensor:
    """``r_+ - r_u - penalty max(0, -r_+)`` of DPO-Positive (Smaug, arXiv 2402.13228), whose lambda is ``penalty``.

    With rewards ``r = beta (log pi - log ref)`` it is the paper's
    ``beta (log pi(w)/ref(w) - log pi(l)/ref(l) - lambda max(0, log ref(w)/pi(w)))``.
    """
    chosen = rewards[:, :1]
    # relu, not clamp: at r_+ = 0, where every run starts, clamp would pass penalty times the gradient on, relu none
    return chosen - rewards[:, 1:] - penalty * F.relu(-chosen)


def hypo_margins(rewards: Tensor, reference: Tensor, beta: float) -> Tensor:
    """``beta (D_pi - max(0, D_ref))`` with ``D = log p(t+) - log p(tau_u)``: HyPO (arXiv 2602.11902).

    Computed as ``r_+ - r_u + beta min(0, D_ref)``, which is the same and DPO's margin bit for bit where the reference
    does not prefer the teacher's answer.

    Args:
        rewards: ``[B, 1+N]``, ``beta (log pi - log ref)``.
        reference: ``[B, 1+N]`` log-probs of the answers under the reference, a constant.
        beta: that of ``rewards``.
    """
    reference = reference.detach()
    return rewards[:, :1] - rewards[:, 1:] + beta * (reference[:, :1] - reference[:, 1:]).clamp(max=0)


def shifted_margins(rewards: Tensor, factor: float) -> Tensor:
    """``r_+ - factor r_u`` of DPO-Shift (arXiv 2502.07599), whose f(lambda) is the constant ``factor``."""
    return rewards[:, :1] - factor * rewards[:, 1:]


def calibrated_nll(
    log_ratios: Tensor,
    weight: Tensor,
    present: Tensor,
    target: float,
    calibration: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cal-DPO (arXiv 2412.14516), the weighted mean over teachers of

    ``-log sigmoid(h_+ - h_u) + calibration ((h_+ - target)^2 + (h_u + target)^2)``, ``h = log pi - log ref``.

    Args:
        log_ratios: ``[B, 1+N]``.
        weight: ``[B, N]`` >= 0, on any scale.
        present: ``[B, N]`` bool.
        target: 1 / (2 beta) in the paper.
        calibration: weight of the squares, 1 in the paper.
        label_smoothing: e in [0, 0.5), of the first term; see `pairwise_nll`.

    Returns:
        ``[B]``; exactly 0 with zero gradient for a study without any teacher that counts.
    """
    counted = present & (weight > 0)
    chosen, rejected = (torch.where(counted, h, 0) for h in (log_ratios[:, :1], log_ratios[:, 1:]))
    squares = (chosen - target) ** 2 + (rejected + target) ** 2
    share = normalize_weights(weight.to(squares.dtype), counted, total=1.0)
    return pairwise_nll(log_ratios, weight, present, label_smoothing) + calibration * (share * squares).sum(-1)


def rescaled(values: Tensor, factor: Tensor) -> Tensor:
    """``factor z + (1 - factor) sg(z)``: the value of ``values``, bit for bit, and ``factor`` times its gradient."""
    held = values.detach()
    return held + factor * (values - held)


def contested(scored: Tensor, conflict: Tensor, both: bool) -> Tensor:
    """Which tokens rewards are made of, all ``[B, 1+N, T]`` bool: of teachers those in ``conflict``, of t+ all, or with
    ``both`` those in conflict too, and then none of the teachers where none of t+ is left."""
    if not both:
        return torch.cat([torch.ones_like(conflict[:, :1]), conflict[:, 1:]], dim=1)
    faced = (conflict & scored)[:, :1].any(-1, keepdim=True)
    return conflict & faced


def agreeing_share(against: Tensor, judged: Tensor) -> Tensor:
    """Share in [0, 1] of the teachers that speak of a statement and do not contradict it; 1 where nobody speaks of it.

    Args:
        against: integer, any shape: how many contradict it.
        judged: the same shape: how many speak of it, those included.
    """
    share = 1 - against / judged.clamp_min(1)
    return torch.where(judged > 0, share, torch.ones_like(share))
