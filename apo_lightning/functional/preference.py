"""Preference terms on implicit rewards: slot 0 is the preferred answer, slots 1..N are the teachers' answers.

Everything is written in gaps ``g_u = r_u - r_+``, so that large rewards lose no digits. ``weight`` is a multiplicity:
a teacher of weight 2 counts as two teachers of weight 1 that gave the same answer. A teacher that is absent or has
weight 0 is left out of value and gradient, whatever its reward holds, NaN included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.functional.mixture import normalize_weights


def implicit_rewards(policy_logps: Tensor, reference_logps: Tensor, beta: float) -> Tensor:
    """``r(t) = beta (log pi(t) - log ref(t))`` of DPO (arXiv 2305.18290), any shape; the reference is a constant."""
    return beta * (policy_logps - reference_logps.detach())


def desensitize_length(token_logps: Tensor, mask: Tensor, counted: Tensor, alpha: float) -> Tensor:
    """Length desensitising of LD-DPO (arXiv 2409.06411): tokens behind an answer's first l_p count ``alpha`` times.

    ``log pi(t) = sum_{i <= l_p} log pi(t_i | t_<i) + alpha sum_{i > l_p} log pi(t_i | t_<i)``. LD-DPO's public length
    l_p is that of the shorter answer of a pair. Here a study has one: the length of its shortest answer that counts,
    so that r_+ is one number whichever teacher it meets. With one teacher this is LD-DPO.

    Args:
        token_logps: ``[B, 1+N, T]``.
        mask: ``[B, 1+N, T]`` 1 on the tokens that an answer is made of; they need not follow one another.
        counted: ``[B, 1+N]`` bool, the answers among which the shortest is looked for.
        alpha: in [0, 1]; 1 returns the values as they came, bit for bit.

    Returns:
        ``[B, 1+N, T]``.
    """
    scored = mask.bool()
    endless = scored.shape[-1]
    public = torch.where(counted, scored.sum(-1), endless).amin(-1)
    return torch.where(scored.cumsum(-1) > public[:, None, None], alpha * token_logps, token_logps)


def _gaps(rewards: Tensor, counted: Tensor) -> Tensor:
    """``r_u - r_+`` ``[B, N]``, 0 without gradient where not counted."""
    return torch.where(counted, rewards[:, 1:] - rewards[:, :1], 0)


def listwise_nll(rewards: Tensor, weight: Tensor, present: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """``-log( exp r_+ / (exp r_+ + sum_u w_u exp r_u) )``: the APO loss of arXiv 2510.04142, with teacher weights.

    With all weights 1 it is S-DPO (arXiv 2406.09215), ``-log sigmoid(-log sum_u exp(r_u - r_+))``. Label smoothing is
    a cross-entropy with a soft target: 1 - e on the preferred answer, e shared among the teachers by weight
    (uniformly, if all weigh the same). For one teacher this is conservative DPO.

    Args:
        rewards: ``[B, 1+N]``.
        weight: ``[B, N]`` >= 0, used as they are; ``normalize_weights(..., "count")`` gives the paper's scale.
        present: ``[B, N]`` bool.
        label_smoothing: e in [0, 0.5).

    Returns:
        ``[B]``; exactly 0 with zero gradient for a study without any teacher that counts.
    """
    counted = present & (weight > 0)
    gaps = _gaps(rewards, counted)
    log_weight = torch.where(counted, weight, 1).to(rewards.dtype).log()
    terms = (gaps + log_weight).masked_fill(~counted, -torch.inf)
    nll = torch.logsumexp(F.pad(terms, (1, 0)), dim=-1)
    return nll - label_smoothing * _weighted_mean(gaps, weight, counted)


def pairwise_nll(rewards: Tensor, weight: Tensor, present: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Weighted mean over teachers of the Bradley-Terry term ``-log sigmoid(r_+ - r_u)``.

    The scale of the weights does not matter: normalised to sum N and divided by N, they are a weighted mean. Label
    smoothing e in [0, 0.5) is conservative DPO: ``-(1-e) log sigmoid(r_+ - r_u) - e log sigmoid(r_u - r_+)``.

    Args:
        rewards: ``[B, 1+N]``.
        weight: ``[B, N]`` >= 0.
        present: ``[B, N]`` bool.
        label_smoothing: e.

    Returns:
        ``[B]``; exactly 0 with zero gradient for a study without any teacher that counts.
    """
    counted = present & (weight > 0)
    gaps = _gaps(rewards, counted)
    # logsigmoid, not softplus: torch's softplus turns linear at 20 and is then off by 2e-9.
    terms = -(1 - label_smoothing) * F.logsigmoid(-gaps) - label_smoothing * F.logsigmoid(gaps)
    return _weighted_mean(terms, weight, counted)


def plackett_luce_nll(
    rewards: Tensor, weight: Tensor, present: Tensor, rank: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Plackett-Luce likelihood of the order "t+ first, then the teachers by ``rank``, highest first".

    The general form of DPO in appendix A.3 of arXiv 2305.18290 (Plackett 1975, Luce 1959): the best is chosen among
    all, then the next among the rest. Teachers of one rank are tied, and nothing is said about the order among them:

        ``l_k = -log( exp r_k / (exp r_k + sum_{j ranked strictly below k} w_j exp r_j) )``
        ``L = l_+ + sum_u w_u l_u``

    Every l_k is `listwise_nll` against those below. With all teachers tied L is `listwise_nll`, with no ties and all
    weights 1 the plain Plackett-Luce negative log-likelihood, and where all rewards are equal log((N+1)!) then. A
    weight is a multiplicity here too: the copies of a teacher are tied. Label smoothing gives e to those below in every
    choice, shared by weight.

    Args:
        rewards: ``[B, 1+N]``.
        weight: ``[B, N]`` >= 0.
        present: ``[B, N]`` bool.
        rank: ``[B, N]``, any scale; ignored where the teacher does not count.
        label_smoothing: e in [0, 0.5).

    Returns:
        ``[B]``; exactly 0 with zero gradient for a study without any teacher that counts.
    """
    counted = present & (weight > 0)
    batch, teachers = counted.shape
    below = counted[:, :, None] & counted[:, None, :] & (rank[:, :, None] > rank[:, None, :])
    own, others = rewards[:, 1:, None], rewards[:, None, 1:].expand(-1, teachers, -1)
    choices = torch.cat([own, others], dim=-1).flatten(0, 1)
    copies = weight[:, None, :].expand(-1, teachers, -1).flatten(0, 1)
    terms = listwise_nll(choices, copies, below.flatten(0, 1), label_smoothing).view(batch, teachers)
    among_teachers = (torch.where(counted, weight, 0).to(terms.dtype) * terms).sum(-1)
    return listwise_nll(rewards, weight, counted, label_smoothing) + among_teachers


def _weighted_mean(values: Tensor, weight: Tensor, counted: Tensor) -> Tensor:
    return (normalize_weights(weight.to(values.dtype), counted, total=1.0) * values).sum(-1)


def draw_one(present: Tensor, generator: torch.Generator) -> Tensor:
    """Mark one of the present entries of each row, uniformly at random.

    Args:
        present: ``[B, N]`` bool.
        generator: one number a row is drawn from it, so that padding columns change no draw.

    Returns:
        ``[B, N]`` bool with one True per row; none in a row without a present entry.
    """
    uniform = torch.rand(len(present), generator=generator, device=generator.device, dtype=torch.float64)
    count = present.sum(-1, keepdim=True)
    index = (uniform.to(present.device)[:, None] * count).long().minimum(count - 1)
    return present & (present.cumsum(-1) == index + 1)


def reward_metrics(rewards: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """What the rewards of each study look like, each ``[B]``.

    ``reward_chosen`` r_+, ``reward_rejected`` the mean of r_u over the teachers that count, ``margin`` their
    difference, ``accuracy`` 1 where r_+ is strictly the largest of the 1+N (so 0 at step 0, where all are equal).
    """
    chosen = rewards[:, 0]
    rejected = masked_mean(rewards[:, 1:], counted, dim=-1)
    best = ((rewards[:, 1:] < rewards[:, :1]) | ~counted).all(-1).to(rewards.dtype)
    return {"reward_chosen": chosen, "reward_rejected": rejected, "margin": chosen - rejected, "accuracy": best}
