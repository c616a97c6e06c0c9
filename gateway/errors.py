"""The error tree of the data plane and its OpenAI-shaped form. Pure.

    GatewayError
    ├── InvalidRequest           400  the client's request cannot be served as sent
    │   ├── PayloadTooLarge      413
    │   └── ModelNotFound        404
    ├── NotFound                 404
    ├── MethodNotAllowed         405
    ├── AuthenticationFailed     401
    ├── PermissionDenied         403
    │   └── BudgetExceeded       403  a budget is spent (429 for clients that ask for that form)
    ├── PaymentRequired          402
    │   ├── CostLimitExceeded    402  the call may cost more than one call is allowed to
    │   └── BudgetInFlight       402  what is left of a budget is held for calls under way
    ├── RateLimited              429  our own limit
    ├── NoProvider               503  nothing is configured or eligible for the model
    ├── Unavailable              503  our own stores cannot take the call (spool full, key unknown and database down)
    └── UpstreamFailed           the provider's fault; nothing more to try
        ├── UpstreamRejected     4xx  the provider refused the request itself
        ├── UpstreamRateLimited  429
        ├── UpstreamError        502  5xx, connection refused or reset
        ├── UpstreamOverloaded   503
        ├── UpstreamTimeout      504
        ├── UpstreamGarbage      502  an answer that is not one
        ├── UpstreamCut          502  the answer ended early
        └── ClientTooSlow        408  the client took nothing of it: the answer was given up

The wire shape and the `metadata.error_type` values follow OpenAI's error object and OpenRouter's
`ApiErrorType` (see docs/reference/errors.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson


class GatewayError(Exception):
    """An error with a documented answer. `message` is shown to the client: no secrets, no internals."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str | None] = "internal_error"
    error_type: ClassVar[str] = "server"
    is_retryable: ClassVar[bool] = False  # what `x-should-retry` tells the client's SDK

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        provider: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.param = param
        self.http_status = status if status is not None else self.status
        self.retry_after_s = retry_after_s
        self.provider = provider
        self.metadata = metadata or {}
        self.extra_headers: tuple[tuple[bytes, bytes], ...] = ()
        self.should_retry = self.is_retryable
        self.keeps_code = False  # dialects with codes of their own leave ours where it is

    @property
    def error_class(self) -> str:
        """The class's name as logs and charts show it."""
        return type(self).__name__

    def body(self, request_id: str) -> bytes:
        """Return the OpenAI-shaped error object as JSON."""
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                    "metadata": {
                        "error_type": self.error_type,
                        "status": self.http_status,
                        "provider_name": self.provider,
                        "request_id": request_id,
                        **self.metadata,
                    },
                }
            }
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the retry headers that OpenAI's SDKs obey (`x-should-retry` overrides their own rule)."""
        headers = [(b"x-should-retry", b"true" if self.should_retry else b"false")]
        if self.retry_after_s is not None:
            seconds = max(0.0, min(self.retry_after_s, 120.0))
            headers.append((b"retry-after", b"%d" % max(1, round(seconds))))
            headers.append((b"retry-after-ms", b"%d" % round(seconds * 1000)))
        headers += self.extra_headers
        return headers


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"
    error_type = "invalid_request"


class PayloadTooLarge(InvalidRequest):
    status = 413
    default_code = "payload_too_large"
    error_type = "payload_too_large"


class ModelNotFound(InvalidRequest):
    status = 404
    default_code = "model_not_found"
    error_type = "not_found"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"
    error_type = "not_found"


class MethodNotAllowed(GatewayError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"
    error_type = "invalid_request"


class AuthenticationFailed(GatewayError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"
    error_type = "authentication"


class PermissionDenied(GatewayError):
    status = 403
    type = "permission_error"
    default_code = "permission_denied"
    error_type = "permission_denied"


class PaymentRequired(GatewayError):
    status = 402
    type = "insufficient_quota"
    default_code = "credits_exhausted"
    error_type = "payment_required"


class BudgetExceeded(PermissionDenied):
    default_code = "budget_exceeded"


class CostLimitExceeded(PaymentRequired):
    """402 and no 403: KairosRoute's own SDK takes any 403 for a bad key and drops the message."""

    default_code = "COST_LIMIT_EXCEEDED"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.keeps_code = True


class BudgetInFlight(PaymentRequired):
    default_code = "in_flight_budget_exhausted"
    is_retryable = True


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    error_type = "rate_limit_exceeded"
    is_retryable = True


class NoProvider(GatewayError):
    status = 503
    default_code = "no_eligible_provider"
    error_type = "provider_unavailable"


class Unavailable(GatewayError):
    status = 503
    default_code = "unavailable"
    error_type = "server"
    is_retryable = True


class UpstreamFailed(GatewayError):
    status = 502
    default_code = "upstream_error"
    error_type = "provider_unavailable"
    has_status = False  # whether the provider answered at all, if only to refuse


class UpstreamRejected(UpstreamFailed):
    status = 400
    type = "invalid_request_error"
    default_code = "upstream_rejected"
    error_type = "invalid_request"


class UpstreamRateLimited(UpstreamFailed):
    status = 429
    type = "rate_limit_error"
    default_code = "upstream_rate_limited"
    error_type = "rate_limit_exceeded"


class UpstreamError(UpstreamFailed):
    pass


class UpstreamKeyRefused(UpstreamError):
    status = 401
    type = "authentication_error"
    default_code = "upstream_account"
    error_type = "authentication"


class UpstreamOverloaded(UpstreamFailed):
    status = 503
    default_code = "overloaded"
    error_type = "provider_overloaded"


class UpstreamTimeout(UpstreamFailed):
    status = 504
    type = "timeout_error"
    default_code = "upstream_timeout"
    error_type = "timeout"


class ClientTooSlow(UpstreamFailed):
    """The answer was given up because its client took nothing of it: no fault of the endpoint's."""

    status = 408
    type = "timeout_error"
    default_code = "client_too_slow"
    error_type = "timeout"


class UpstreamGarbage(UpstreamFailed):
    default_code = "upstream_garbage"


class UpstreamCut(UpstreamFailed):
    default_code = "upstream_cut"


UPSTREAM_ERRORS: dict[str, type[UpstreamFailed]] = {
    error.__name__: error
    for error in (
        UpstreamRejected,
        UpstreamRateLimited,
        UpstreamError,
        UpstreamKeyRefused,
        UpstreamOverloaded,
        UpstreamTimeout,
        UpstreamGarbage,
        UpstreamCut,
    )
}
