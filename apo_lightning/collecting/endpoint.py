"""Where a teacher is asked, for which model, and how often: an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from apo_lightning import prompts
from apo_lightning.collecting.guard import check_address
from apo_lightning.collecting.secrets import check_name
from apo_lightning.errors import ConfigError
from apo_lightning.files.limits import MAX_ANSWER
from apo_lightning.settings.checks import check_choices, positive

OURS = ("model", "messages", "n", "stream", "temperature", "seed", "logprobs", "top_logprobs")
"""What a request says by settings of its own, so that ``extra`` may not."""
LIMITS = ("max_tokens", "max_completion_tokens")
PLACE = "endpoint"
FRAME_BYTES, TOKEN_BYTES, LOGPROB_BYTES = 1_000_000, 64, 100
MOST_LOGPROBS = 20
"""Alternatives a token that OpenAI's protocol gives at most."""


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in one currency for all teachers; None: it is not known.

    Attributes:
        input: of the question, image included.
        output: of the answer, thinking included.
    """

    input: float | None = None
    output: float | None = None

    def __post_init__(self) -> None:
        for key in ("input", "output"):
            if (value := getattr(self, key)) is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{key} must be >= 0, got {value}")

    def of(self, input_tokens: float, output_tokens: float) -> float | None:
        """Cost of so many tokens; None where a price is not known.

        >>> Price(1.25, 10.0).of(1_000_000, 500_000), Price().of(1, 1)
        (6.25, None)
        """
        if self.input is None or self.output is None:
            return None
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model behind an address.

    Attributes:
        base_url: address of the API, as ``https://api.openai.com/v1``; with ``client: litellm`` it may be left out.
        model: as the endpoint names it.
        key: NAME of the environment variable that holds the key; None: none is sent.
        client: ``openai`` for every endpoint that speaks OpenAI's protocol; ``litellm`` for others, if it is installed.
        prompt: name of the prompt that is asked.
        image_size: pixels of the long side of an image that is sent; larger ones are made smaller. None: as they are.
        image_detail: OpenAI's ``detail`` of an image; None: the endpoint's own choice.
        temperature, seed: None: not sent, so that the endpoint chooses. Some models refuse a temperature.
        max_tokens: of an answer, thinking included. Raising it asks nothing anew.
        limit: what the endpoint calls ``max_tokens``; OpenAI's newer models want ``max_completion_tokens``.
        top_logprobs: alternatives whose log-probs are kept for each token, 0 to 20; 0: no log-probs.
        extra: what else a request says (``reasoning_effort``).
        concurrency: requests that are under way at a time, >= 1.
        requests_per_minute, tokens_per_minute: limits of your account; None: none.
        timeout: seconds that an answer may take in all, from sending to its last byte.
        retries: times that a request is sent again after a failure that may pass, >= 0. Being told to come later
            (status 429) is none.
        backoff: seconds before it is sent again the first time, at most; doubled each time, up to a minute. Where the
            endpoint says how long to wait (Retry-After), it is as long, for all requests of the teacher.
        price: of a million tokens.
    """

    base_url: str = ""
    model: str
    key: str | None = None
    client: Literal["openai", "litellm"] = "openai"
    prompt: str = "diagnose"
    image_size: int | None = 1024
    image_detail: Literal["auto", "low", "high"] | None = None
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int = 1024
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    top_logprobs: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 300.0
    retries: int = 6
    backoff: float = 1.0
    price: Price = field(default_factory=Price)

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.model.strip():
            raise ValueError("model must not be empty: give the name that the endpoint knows")
        check_name(self.key, "key")
        if self.client == "openai" or self.base_url:
            _naming("base_url", lambda: check_address(self.base_url, PLACE))
        _check_prompt(self.prompt)
        positive(
            image_size=self.image_size,
            max_tokens=self.max_tokens,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            timeout=self.timeout,
            backoff=self.backoff,
        )
        if self.temperature is not None and not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be >= 0, got {self.temperature}")
        if not 0 <= self.top_logprobs <= MOST_LOGPROBS:
            raise ValueError(f"top_logprobs must be in [0, {MOST_LOGPROBS}], got {self.top_logprobs}")
        if self.retries < 0:
            raise ValueError(f"retries must be >= 0, got {self.retries}")
        for name in self.extra:
            if name in (*OURS, *LIMITS):
                raise ValueError(f"extra must not hold '{name}', which has a setting or is fixed")

    @property
    def sampling(self) -> dict[str, Any]:
        """What of a request's body is neither the model nor the messages nor the limit of an answer's length."""
        own: dict[str, Any] = {
            key: value for key in ("temperature", "seed") if (value := getattr(self, key)) is not None
        }
        if self.top_logprobs:
            own |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return {**own, **self.extra}

    @property
    def most_bytes(self) -> int:
        """Bytes of an answer, at most: far more than so many tokens take, and little enough to see what is none."""
        token = TOKEN_BYTES + LOGPROB_BYTES * self.top_logprobs
        return min(FRAME_BYTES + self.max_tokens * token, MAX_ANSWER)

    @property
    def drawn(self) -> dict[str, Any]:
        """What a journal says of how an answer came about, beside model, words and images."""
        return {"image_size": self.image_size, self.limit: self.max_tokens, **self.sampling}


def _naming(key: str, check: Callable[[], Any]) -> None:
    """Run a check whose message names ``PLACE``, and let it begin with the setting's own name."""
    try:
        check()
    except ConfigError as error:
        raise ValueError(str(error).replace(f"{PLACE}.{key}", key)) from None


def _check_prompt(name: str) -> None:
    if "reports" in prompts.load(name).get_identifiers():
        raise ValueError(f"prompt '{name}' has $reports, and a teacher reads no other teacher's text")
