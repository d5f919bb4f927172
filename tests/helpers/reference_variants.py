"""Naive twins of the preference losses that other papers vary DPO by: plain Python floats, one pair at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.helpers.reference_losses import weights

Tokens = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Pair:
    """Log-probs of t+ (w) and of one teacher's answer (l) under policy and reference, as the rewards take them."""

    pi_w: float
    ref_w: float
    pi_l: float
    ref_l: float

    @property
    def h_w(self) -> float:
        return self.pi_w - self.ref_w

    @property
    def h_l(self) -> float:
        return self.pi_l - self.ref_l


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def smoothed(margin: float, smoothing: float) -> float:
    return -(1 - smoothing) * math.log(sigmoid(margin)) - smoothing * math.log(sigmoid(-margin))


def dpop(pair: Pair, beta: float, smoothing: float, penalty: float) -> float:
    shortfall = pair.ref_w - pair.pi_w if pair.pi_w < pair.ref_w else 0.0
    return smoothed(beta * (pair.h_w - pair.h_l - penalty * shortfall), smoothing)


def hypo(pair: Pair, beta: float, smoothing: float) -> float:
    return smoothed(hypo_margin(pair, beta), smoothing)


def hypo_margin(pair: Pair, beta: float) -> float:
    of_policy, of_reference = pair.pi_w - pair.pi_l, pair.ref_w - pair.ref_l
    return beta * (of_policy - (of_reference if of_reference > 0 else 0.0))


def dpo_shift(pair: Pair, beta: float, smoothing: float, factor: float) -> float:
    return smoothed(beta * pair.h_w - factor * beta * pair.h_l, smoothing)


def cal_dpo(pair: Pair, beta: float, smoothing: float, calibration: float) -> float:
    target = 0.5 / beta
    squares = (pair.h_w - target) ** 2 + (pair.h_l + target) ** 2
    return smoothed(pair.h_w - pair.h_l, smoothing) + calibration * squares


def hypo_listwise(pairs: Sequence[Pair], copies: Sequence[float], beta: float, smoothing: float) -> float:
    """Cross-entropy of (1 - e on t+, e shared by weight) with the softmax over 0 and the negative margins."""
    z = 1 + sum(w * math.exp(-hypo_margin(pair, beta)) for w, pair in zip(copies, pairs, strict=True))
    soft = [w / sum(copies) * math.log(math.exp(-hypo_margin(p, beta)) / z) for w, p in zip(copies, pairs, strict=True)]
    return (1 - smoothing) * math.log(z) - smoothing * sum(soft)


def averaged(term: Callable[..., float], **own: float) -> Callable[..., float]:
    """A term of one pair as that of a study: the mean over its teachers by weight."""

    def of_study(pairs: Sequence[Pair], copies: Sequence[float], beta: float, smoothing: float) -> float:
        found = [w * term(pair, beta, smoothing, **own) for w, pair in zip(copies, pairs, strict=True)]
        return sum(found) / sum(copies)

    return of_study


def preference(
    of_study: Callable[..., float],
    policy: Tokens,
    reference: Tokens,
    mask: Tokens,
    weight: Sequence[Sequence[float]],
    present: Sequence[Sequence[bool]],
    *,
    beta: float,
    nll_weight: float,
    reduction: str,
    label_smoothing: float,
    length_alpha: float,
) -> float:
    """Mean over studies with a preferred answer of the term plus the nll of that answer; tokens are ``[B][1+N][T]``."""
    values = []
    for b, here in enumerate(present):
        if not here[0]:
            continue
        scored = [[i for i, m in enumerate(row) if m] for row in mask[b]]
        nll = -sum(policy[b][0][i] for i in scored[0]) / len(scored[0])
        counted = [u for u in range(1, len(here)) if here[u] and weight[b][u] > 0]
        public = min(len(scored[u]) for u in [0, *counted])

        def answer(logps: Tokens, slot: int, b: int = b, scored=scored, public: int = public) -> float:
            own = [logps[b][slot][i] for i in scored[slot]]
            if reduction == "mean":
                return sum(own) / len(own)
            return sum(own[:public]) + length_alpha * sum(own[public:])

        pairs = [Pair(*(answer(logps, slot) for slot in (0, u) for logps in (policy, reference))) for u in counted]
        copies = weights([weight[b][u] for u in counted], [True] * len(counted), "count")
        values.append((of_study(pairs, copies, beta, label_smoothing) if pairs else 0.0) + nll_weight * nll)
    return sum(values) / len(values)
