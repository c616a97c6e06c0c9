"""Walk the URLconf as a foreign tenant: what `test_tenancy` does with our pages and, as a proof, with leaky ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, reverse

from accounts.models import Organization

_METHODS = ("get", "head", "post", "put", "patch", "delete")

MakeObject = Callable[[Organization], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A URL pattern that takes parameters."""

    name: str
    path: str
    parameters: frozenset[str]
    is_guarded: bool  # the view wears `organization_view`


@dataclass(frozen=True, slots=True)
class Example:
    """How to call a route: for each parameter but the slug, a function that makes its object in an organization."""

    objects: dict[str, MakeObject] = field(default_factory=dict)
    needs_log_store: bool = False


def routes(patterns: Sequence[URLPattern | URLResolver], prefix: str = "") -> Iterator[Route]:
    """Yield every pattern that takes a parameter, at any depth."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
            continue
        parameters = frozenset(pattern.pattern.converters) | frozenset(_groups(pattern))
        if parameters or path.startswith("o/"):
            yield Route(pattern.name or path, path, parameters, hasattr(pattern.callback, "permission"))


def kwargs(route: Route, example: Example, *, slug: str, owner: Organization) -> dict[str, Any]:
    """Return the parameters of `route`: the slug as given, the objects made in `owner`."""
    return {name: make(owner) for name, make in example.objects.items()} | {"slug": slug}


def leaks(client: Client, route: Route, parameters: dict[str, Any], *, urlconf: str | None = None) -> list[str]:
    """Return every method by which the signed-in `client` gets anything but 404 (or, after it, 405)."""
    try:
        url = reverse(route.name, kwargs=parameters, urlconf=urlconf)
    except NoReverseMatch as error:
        return [f"{route.name}: {error}"]
    answers = {method: getattr(client, method)(url).status_code for method in _METHODS}
    found = [
        f"{method.upper()} {route.path}: {status}" for method, status in answers.items() if status not in {404, 405}
    ]
    if set(answers.values()) == {405}:
        found.append(f"{route.path} allows no method")
    return found


def strangers_doors(client: Client, route: Route, parameters: dict[str, Any]) -> list[str]:
    """Return every method by which an anonymous `client` gets anything but the way to sign-in (or 405)."""
    url = reverse(route.name, kwargs=parameters)
    found = []
    for method in _METHODS:
        answer = getattr(client, method)(url)
        goes_to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=")
        if not goes_to_sign_in and answer.status_code != 405:
            found.append(f"{method.upper()} {route.path}: {answer.status_code}")
    return found


def _groups(pattern: URLPattern) -> list[str]:
    regex = getattr(pattern.pattern, "regex", None)
    return list(regex.groupindex) if regex is not None else []
