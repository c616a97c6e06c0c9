"""What the pages over calls share: the query in the URL, the pickers above, names for ids, the broken state."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.access import MemberRequest
from accounts.models import ApiKey, Organization, Workspace
from analytics import log_query, timerange
from analytics.log_query import InvalidQuery, LogQuery, Problem
from analytics.queries.requests import StoreError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a picker, as a link."""

    words: str
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """The query of a page and what its header offers. With problems the query is the default one."""

    query: LogQuery
    problems: tuple[Problem, ...]
    ranges: tuple[Choice, ...]
    modes: tuple[Choice, ...]
    # the other parameters of the URL, for the form of a range of one's own
    kept: tuple[tuple[str, str], ...]

    @property
    def status(self) -> int:
        return 400 if self.problems else 200


def read(request: MemberRequest, *, also: Collection[str] = ()) -> LogPage:
    """Return the page's query; `also` names parameters of the page's own, which the pickers keep."""
    now = timezone.now()
    problems: tuple[Problem, ...] = ()
    try:
        query = log_query.parse(dict(request.GET.lists()), now=now, also=also)
    except InvalidQuery as error:
        query, problems = log_query.default(now=now), error.problems
    own = {name: request.GET[name] for name in also if name in request.GET and name not in {"after", "before"}}
    return LogPage(query, problems, _ranges(query, own, now), _modes(query, own), _kept(query, own))


def link(query: LogQuery, own: Mapping[str, str] | None = None) -> str:
    """Return `?…` for a query and parameters of the page's own."""
    encoded = "&".join(part for part in (query.encode(), log_query.encode_parameters(own or {})) if part)
    return f"?{encoded}"


def key_names(organization: Organization) -> dict[str, str]:
    """Return the names of the organization's keys by id."""
    return dict(ApiKey.objects.filter(workspace__organization=organization).values_list("pk", "name"))


def workspace_names(organization: Organization) -> dict[str, str]:
    """Return the names of the organization's workspaces by id."""
    return dict(Workspace.objects.filter(organization=organization).values_list("pk", "name"))


def broken(request: MemberRequest, template: str, context: dict[str, Any], error: StoreError) -> HttpResponse:
    """Return the page without its figures, saying why: calls go on while the log store rests."""
    logger.warning("A page could not read the log store: %s", type(error).__name__, extra={"code": error.code})
    context |= {"is_broken": True, "can_retry": error.is_retryable}
    return render(request, template, context, status=503)


def _ranges(query: LogQuery, own: Mapping[str, str], now: dt.datetime) -> tuple[Choice, ...]:
    return tuple(
        Choice(words, link(query.changed(range=timerange.relative(preset, now=now)), own), query.range.preset == preset)
        for preset, words in timerange.PRESETS.items()
    )


def _modes(query: LogQuery, own: Mapping[str, str]) -> tuple[Choice, ...]:
    return tuple(
        Choice(words, link(query.changed(mode=mode), own), query.mode == mode)
        for mode, words in log_query.MODES.items()
    )


def _kept(query: LogQuery, own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    parameters = {name: value for name, value in query.parameters().items() if name not in {"range", "from", "to"}}
    return tuple((parameters | dict(own)).items())
