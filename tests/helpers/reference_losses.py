"""Naive twins of every equation: plain Python floats and loops, no torch, no care for large numbers.

They are written from the equations, not from the code under test: products and exponentials where the code has sums
and logsumexp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]
Flags = Sequence[bool]


def token_logps(logits: Sequence[Row], ids: Sequence[int], mask: Sequence[int]) -> list[float]:
    """``log softmax(logits before the token)[token]`` for one sequence; 0 where not scored."""
    out = [0.0] * len(ids)
    for i in range(1, len(ids)):
        if mask[i]:
            exps = [math.exp(x) for x in logits[i - 1]]
            out[i] = math.log(exps[ids[i]] / sum(exps))
    return out


def weights(weight: Row, present: Flags, total: float | str) -> list[float]:
    """One study's weights, scaled to ``total`` or to the number of teachers present with a weight above 0."""
    kept = [w if p else 0.0 for w, p in zip(weight, present, strict=True)]
    if sum(kept) == 0:
        return [0.0] * len(kept)
    target = sum(1 for w in kept if w > 0) if total == "count" else total
    return [w * target / sum(kept) for w in kept]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _counted(weight: Row, present: Flags) -> list[int]:
    return [u for u, (w, p) in enumerate(zip(weight, present, strict=True)) if p and w > 0]


def listwise(rewards: Row, weight: Row, present: Flags, smoothing: float = 0.0) -> float:
    """Cross-entropy of (1 - e on r_+, e shared by weight) with the softmax over the answers, weights as copies."""
    chosen, rejected = rewards[0], rewards[1:]
    counted = _counted(weight, present)
    if not counted:
        return 0.0
    z = math.exp(chosen) + sum(weight[u] * math.exp(rejected[u]) for u in counted)
    mass = sum(weight[u] for u in counted)
    soft = sum(weight[u] / mass * math.log(math.exp(rejected[u]) / z) for u in counted)
    return -(1 - smoothing) * math.log(math.exp(chosen) / z) - smoothing * soft


def pairwise(rewards: Row, weight: Row, present: Flags, smoothing: float = 0.0) -> float:
    """Mean over teachers of the (conservative) Bradley-Terry term, weights as copies."""
    value, mass = 0.0, 0.0
    for u in _counted(weight, present):
        gap = rewards[0] - rewards[1 + u]
        term = -(1 - smoothing) * math.log(_sigmoid(gap)) - smoothing * math.log(_sigmoid(-gap))
        value, mass = value + weight[u] * term, mass + weight[u]
    return value / mass if mass else 0.0


def plackett_luce(rewards: Row, weight: Row, present: Flags, rank: Row, smoothing: float = 0.0) -> float:
    """Every item chosen among itself and those ranked strictly below it; t+ above all."""
    counted = _counted(weight, present)
    value = listwise(rewards, weight, present, smoothing)
    for k in counted:
        below = [j for j in counted if rank[j] < rank[k]]
        choice = [rewards[1 + k], *(rewards[1 + j] for j in below)]
        value += weight[k] * listwise(choice, [weight[j] for j in below], [True] * len(below), smoothing)
    return value


def order_probability(rewards: Row, order: Sequence[int]) -> float:
    """Chance of drawing the items in ``order``, one after the other and without putting back, each by exp(reward)."""
    left, chance = [math.exp(r) for r in rewards], 1.0
    for item in order:
        chance *= left[item] / sum(left)
        left[item] = 0.0
    return chance


def softmax_dpo(rewards: Row) -> float:
    """S-DPO: ``-log sigmoid(-log sum_u exp(r_u - r_+))``."""
    return -math.log(_sigmoid(-math.log(sum(math.exp(r - rewards[0]) for r in rewards[1:]))))


def spd_nll(
    logps: Sequence[Row], lengths: Sequence[Row], weight: Sequence[Row], present: Sequence[Flags], reduction: str
) -> float:
    """Mean over studies with a teacher of ``-sum_u w_u log q``."""
    values = []
    for lp, n, w, p in zip(logps, lengths, weight, present, strict=True):
        share = weights(w, p, 1.0)
        if any(share):
            per = [x / k if reduction == "token_mean" else x for x, k in zip(lp, n, strict=True)]
            values.append(-sum(s * x for s, x in zip(share, per, strict=True) if s > 0))
    return sum(values) / len(values)


def preference(
    kind: str,
    policy: Sequence[Sequence[Row]],
    reference: Sequence[Sequence[Row]],
    mask: Sequence[Sequence[Flags]],
    weight: Sequence[Row],
    present: Sequence[Flags],
    *,
    beta: float,
    nll_weight: float,
    reduction: str,
    label_smoothing: float = 0.0,
    length_alpha: float = 1.0,
    order: str = "",
    agreement: Sequence[Row] = (),
    conflict: Sequence[Sequence[Flags]] = (),
    contradicted: Sequence[Sequence[Row]] = (),
    votes: int = 0,
    both: bool = False,
) -> float:
    """Mean over studies with a preferred answer of the term plus the nll of that answer; tokens are ``[B][1+N][T]``."""
    values = []
    for b, here in enumerate(present):
        if not here[0]:
            continue
        tokens = [[i for i, m in enumerate(row) if m] for row in mask[b]]
        nll = -sum(policy[b][0][i] for i in tokens[0]) / len(tokens[0])
        if conflict:
            left = [
                [i for i in row if conflict[b][s][i] and (not votes or contradicted[b][s][i] >= votes)]
                for s, row in enumerate(tokens)
            ]
            if both and not left[0]:
                left = [[]] * len(tokens)
            tokens[0 if both else 1 :] = left[0 if both else 1 :]
        counts = [p and w > 0 and bool(row) for p, w, row in zip(here[1:], weight[b][1:], tokens[1:], strict=True)]
        public = min(len(row) for row, c in zip(tokens, [True, *counts], strict=True) if c)
        rewards = []
        for s, row in enumerate(tokens):
            ratios = [policy[b][s][i] - reference[b][s][i] for i in row]
            total = sum(ratios[:public]) + length_alpha * sum(ratios[public:])
            rewards.append(beta * (total / len(row) if reduction == "mean" else total) if row else 0.0)
        share = weights(weight[b][1:], counts, "count")
        if kind == "plackett_luce":
            rank = weight[b][1:] if order == "weight" else agreement[b][1:]
            share = [float(c) for c in counts] if order == "weight" else share
            term = plackett_luce(rewards, share, counts, rank, label_smoothing)
        else:
            term = {"listwise": listwise, "pairwise": pairwise}[kind](rewards, share, counts, label_smoothing)
        values.append(term + nll_weight * nll)
    return sum(values) / len(values)


def sft_agreement(
    policy: Sequence[Row], mask: Sequence[Flags], share: Sequence[Row], present: Flags, reduction: str
) -> float:
    """Mean over studies with a preferred answer of its tokens' negative log-probs, each as often as its share."""
    values = []
    for logps, scored, own, p in zip(policy, mask, share, present, strict=True):
        if p:
            tokens = [i for i, m in enumerate(scored) if m]
            total = sum(own[i] for i in tokens) if reduction == "token_mean" else 1
            values.append(-sum(own[i] * logps[i] for i in tokens) / total if total else 0.0)
    return sum(values) / len(values)


def sft(logps: Row, lengths: Row, present: Flags, reduction: str) -> float:
    """Mean over studies with a preferred answer of its negative log-prob, a token or in all."""
    values = [-x / n if reduction == "token_mean" else -x for x, n, p in zip(logps, lengths, present, strict=True) if p]
    return sum(values) / len(values)
