"""What a call does after a failed attempt: try again, go on to which endpoint, or give up. Pure.

    a prompt too long for the model     the next other model with a larger context window
    refused by a content policy         the next model of another vendor
    not known there (404)               the next endpoint
    any other refusal of the request    nothing: it is the client's, and the same everywhere
    everything else                     the same endpoint while retries are left, then the next

All attempts of a call share one budget and one deadline. Which order the endpoints have is `gateway.health`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gateway import errors
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.providers.protocol import Endpoint

MAX_ATTEMPTS = 4
MOST_WAIT_S = 2.0
_FIRST_WAIT_S = 0.1

TOO_LONG = "context_length_exceeded"
POLICY = "content_policy_violation"

RETRY = "retry"
NEXT_ENDPOINT = "next_endpoint"
NEXT_MODEL = "next_model"
LARGER_WINDOW = "larger_context_window"
OTHER_VENDOR = "other_vendor"


@dataclass(frozen=True, slots=True)
class Traits:
    """What fallbacks ask of a model: the same `family` is the same model elsewhere."""

    family: str
    vendor: str
    context_tokens: int | None = None


TraitsOf = Callable[[str], Traits]


def plain_traits(model: str) -> Traits:
    """Return what a model's name alone says: for models outside the catalog."""
    return Traits(model, model.partition("/")[0])


class Course:
    """The attempts of one call. One per call; it moves on with `fail`."""

    __slots__ = (
        "_attempts_left",
        "_deadline",
        "_endpoints",
        "_position",
        "_retries_left",
        "_retries_wished",
        "first_failure",
        "is_probing",
        "skipped",
        "wait_s",
    )

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        *,
        preferences: Preferences,
        skipped: tuple[tuple[Endpoint, str], ...] = (),
        is_probing: bool = False,
        max_attempts: int = MAX_ATTEMPTS,
        deadline: float = float("inf"),
    ) -> None:
        if not preferences.allows_fallbacks:
            endpoints = endpoints[:1]
        self._endpoints = endpoints
        self._position = 0
        self._attempts_left = max_attempts
        self._retries_wished = preferences.retries
        self._retries_left = self._retries()
        self._deadline = deadline
        self.skipped = skipped
        self.is_probing = is_probing  # its first attempt is the probe of an endpoint that was out
        self.first_failure: errors.GatewayError | None = None
        self.wait_s = 0.0  # how long to wait before the attempt at `endpoint`

    @property
    def endpoint(self) -> Endpoint:
        """Where the next attempt goes."""
        return self._endpoints[self._position]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All that may be tried, in order."""
        return self._endpoints

    @property
    def has_more(self) -> bool:
        """Whether a further endpoint could be tried after this one."""
        return self._position + 1 < len(self._endpoints) and self._attempts_left > 1

    def seconds_left(self, now: float) -> float:
        """Return how long the call may still take."""
        return self._deadline - now

    def fail(self, error: errors.GatewayError, now: float, *, traits_of: TraitsOf, rng: Random) -> str:
        """Take the failure of the attempt at `endpoint`; return why the call goes on, "" when it does not.

        After it `endpoint` is the next one and `wait_s` how long to wait before.
        """
        self._attempts_left -= 1
        self.wait_s = 0.0
        if self._attempts_left <= 0 or now >= self._deadline:
            return ""
        if isinstance(error, errors.UpstreamRejected):
            return self._go_elsewhere(error, traits_of)
        if self._retries_left > 0 and _may_repeat(error, is_asked_for=self._retries_wished is not None):
            wait_s = self._wait(error, rng)
            if now + wait_s < self._deadline:
                self._retries_left -= 1
                self.wait_s = wait_s
                return RETRY
        return self._go_on(traits_of)

    def pass_over(self, error: errors.GatewayError) -> bool:
        """Leave out an endpoint whose protocol cannot carry the call; return whether another is left."""
        self.first_failure = self.first_failure or error
        if self._position + 1 >= len(self._endpoints):
            return False
        self._move_to(self._position + 1)
        return True

    def _go_on(self, traits_of: TraitsOf) -> str:
        following = self._position + 1
        if following >= len(self._endpoints):
            return ""
        before = traits_of(self.endpoint.model).family
        self._move_to(following)
        return NEXT_ENDPOINT if traits_of(self.endpoint.model).family == before else NEXT_MODEL

    def _go_elsewhere(self, error: errors.UpstreamRejected, traits_of: TraitsOf) -> str:
        """Go on after a refusal, where another model or endpoint may take the call."""
        refused = traits_of(self.endpoint.model)
        for position in range(self._position + 1, len(self._endpoints)):
            traits = traits_of(self._endpoints[position].model)
            if error.code == TOO_LONG:
                if traits.family != refused.family and _is_larger(traits.context_tokens, refused.context_tokens):
                    self._move_to(position)
                    return LARGER_WINDOW
            elif error.code == POLICY:
                if traits.vendor != refused.vendor:
                    self._move_to(position)
                    return OTHER_VENDOR
            elif error.http_status == 404:
                self._move_to(position)
                return NEXT_ENDPOINT if traits.family == refused.family else NEXT_MODEL
        return ""

    def _move_to(self, position: int) -> None:
        self._position = position
        self._retries_left = self._retries()

    def _retries(self) -> int:
        """Return how often the current endpoint may be asked again: as wished, else once where it is the last."""
        if self._retries_wished is not None:
            return self._retries_wished
        return 1 if self._position + 1 >= len(self._endpoints) else 0

    def _wait(self, error: errors.GatewayError, rng: Random) -> float:
        """Return the wait before a retry: what the provider asks for, else growing by powers of two with full jitter
        (M. Brooker, "Exponential Backoff And Jitter", 2015)."""
        if error.retry_after_s is not None:
            return error.retry_after_s
        done = (self._retries_wished or 1) - self._retries_left
        return rng.uniform(0.5, 1.0) * min(MOST_WAIT_S, _FIRST_WAIT_S * 2.0**done)


NO_COURSE = Course((), preferences=NO_PREFERENCES)


def is_connection_fault(error: errors.GatewayError) -> bool:
    """Return whether a provider could not be asked at all: no connection, or one that broke before any answer."""
    return type(error) is errors.UpstreamError and not error.has_status


def _may_repeat(error: errors.GatewayError, *, is_asked_for: bool) -> bool:
    """Return whether the same endpoint may be asked again. Unasked only where it had not even heard the question."""
    if error.retry_after_s is not None and error.retry_after_s > MOST_WAIT_S:
        return False
    if error.code in ("upstream_account", "upstream_access"):
        return False
    return is_asked_for or is_connection_fault(error)


def _is_larger(context_tokens: int | None, refused: int | None) -> bool:
    return context_tokens is not None and (refused is None or context_tokens > refused)
