"""The parts of an encoded record that are made once and used often: per key, per decision, per outcome. Pure.

A record is a JSON array in the order of `analytics.request_log.COLUMNS`; consecutive parts put together are the line.
"""

from __future__ import annotations

from functools import lru_cache

from analytics import request_log
from analytics.request_log import RequestLog
from gateway.context import NOBODY, ChatCall, KeySnapshot
from gateway.preferences import NO_TRACE
from gateway.providers.protocol import Endpoint
from gateway.routing.decision import Decision

_DEFAULTS = dict(
    zip(
        RequestLog.__struct_fields__[-len(RequestLog.__struct_defaults__) :],
        RequestLog.__struct_defaults__,
        strict=True,
    )
)


def _defaults(first: str, last: str) -> bytes:
    """Return the default values of consecutive fields as a fragment."""
    names = request_log.COLUMNS
    chosen = names[names.index(first) : names.index(last) + 1]
    return request_log.fragment(*(_DEFAULTS[name] for name in chosen))


INTERRUPTED = request_log.fragment(request_log.INTERRUPTED, 0, "Interrupted", "", "", 0)
NOTHING_YET = _defaults("attempts", "output_characters")
_NOBODY_FRAGMENT = request_log.fragment("", "", "", "", "")
EMPTY = b"{}"
EMPTY_RECEIPT = b'"{}"'
_NO_CONTEXT = _defaults("trace_id", "credential_id")


def identity(
    key: KeySnapshot, call: ChatCall, *, request_id: str, key_source: str, started_us: int, is_simulated: bool
) -> bytes:
    """Return the fields from `request_id` to `is_stream`: the same in a call's intent and its record."""
    who = call.attribution
    return b'"%b",%b,%b,"%b",%d,%d,%d,"%b","%b",%d' % (
        request_id.encode(),
        _owner(key.organization_id, key.workspace_id, key.api_key_id),
        _NOBODY_FRAGMENT
        if who is NOBODY
        else request_log.fragment(who.agent, who.feature, who.agent_run, who.session, who.end_user),
        key_source.encode(),
        key.is_test,
        is_simulated,
        started_us,
        call.operation.encode(),
        call.dialect.encode(),
        call.is_stream,
    )


@lru_cache(maxsize=4096)
def _owner(organization_id: str, workspace_id: str, api_key_id: str) -> bytes:
    return request_log.fragment(organization_id, workspace_id, api_key_id)


@lru_cache(maxsize=256)
def succeeded(finish_reason: str, native_finish_reason: str) -> bytes:
    return request_log.fragment(request_log.SETTLED, 200, "", finish_reason, native_finish_reason, 0)


def context(call: ChatCall, credential_id: str, booked_nanousd: int) -> bytes:
    """Return the fields from `trace_id` on."""
    trace = call.trace
    if trace is NO_TRACE and not credential_id:
        return b"%b,%d" % (_NO_CONTEXT, booked_nanousd)
    return request_log.fragment(
        trace.trace_id,
        trace.parent_span_id,
        trace.client_request_id,
        trace.client_retry_count,
        credential_id,
        booked_nanousd,
    )


def decided(call: ChatCall, decision: Decision, endpoint: Endpoint) -> bytes:
    """Return the fields from `requested_model` to `experiment_arm`."""
    return _decision_fragment(
        call.requested_model,
        endpoint.model,
        endpoint.provider,
        endpoint.upstream_model,
        decision.is_pinned,
        call.task_type,
        call.task_source,
        decision.policy_version,
        decision.route_reason,
        decision.experiment_id,
        decision.experiment_arm,
    )


@lru_cache(maxsize=4096)
def _decision_fragment(
    requested_model: str,
    model: str,
    provider: str,
    upstream_model: str,
    is_pinned: bool,
    task_type: str,
    task_source: str,
    policy_version: str,
    route_reason: str,
    experiment_id: str,
    experiment_arm: str,
) -> bytes:
    return request_log.fragment(
        requested_model,
        model,
        provider,
        upstream_model,
        int(is_pinned),
        task_type,
        None,
        task_source,
        policy_version,
        "",
        route_reason,
        experiment_id,
        experiment_arm,
    )
