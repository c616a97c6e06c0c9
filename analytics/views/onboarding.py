"""The first call: which two lines to change, and waiting until the call is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.access import MemberRequest, organization_view
from accounts.models import ApiKey, Organization
from analytics import money
from analytics.queries import onboarding as queries
from analytics.queries.onboarding import Arrival
from analytics.request_log import UNPRICED

_TEMPLATE = "analytics/onboarding.html"
_KEY_VARIABLE = "KAIROSROUTE_API_KEY"
_MODEL = "openai/gpt-5.4-mini"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A whole program for one language; `changed` are its two lines that differ from before."""

    name: str
    title: str
    install: str
    text: str
    changed: tuple[str, str]

    @property
    def lines(self) -> list[tuple[str, bool]]:
        """Return each line and whether it is one of the two that change."""
        return [(line, line.strip() in self.changed) for line in self.text.splitlines()]


@require_safe
@never_cache
@organization_view(roles.VIEW_REQUESTS)
def onboarding(request: MemberRequest, organization: Organization) -> HttpResponse:
    """Show how to send the first call and whether it has arrived."""
    snippets = _snippets(f"{settings.BASE_URL}/v1")
    chosen = request.GET.get("language", "python")
    context: dict[str, Any] = {
        "organization": organization,
        "base_url": f"{settings.BASE_URL}/v1",
        "key_variable": _KEY_VARIABLE,
        "snippets": snippets,
        "snippet": next((snippet for snippet in snippets if snippet.name == chosen), snippets[0]),
        "has_key": ApiKey.objects.filter(workspace__organization=organization, revoked_at=None).exists(),
        "may_make_keys": roles.grants(request.membership.role, roles.MANAGE_KEYS),
        "status_url": reverse("onboarding_status", args=[organization.slug]),
    }
    try:
        arrival = queries.latest_arrival(organization_id=organization.pk, now=timezone.now())
    except queries.StoreError:
        context["is_broken"] = True
        return render(request, _TEMPLATE, context, status=503)
    context["arrival"] = _words(organization, arrival) if arrival else None
    return render(request, _TEMPLATE, context)


@require_safe
@never_cache
@organization_view(roles.VIEW_REQUESTS)
def onboarding_status(request: MemberRequest, organization: Organization) -> JsonResponse:
    """Say whether the first call has arrived: `{"arrived": true, "call": {…}}`."""
    try:
        arrival = queries.latest_arrival(organization_id=organization.pk, now=timezone.now())
    except queries.StoreError:
        return JsonResponse({"arrived": False, "call": None, "error": "The log store does not answer."}, status=503)
    return JsonResponse({"arrived": arrival is not None, "call": _words(organization, arrival) if arrival else None})


def _words(organization: Organization, arrival: Arrival) -> dict[str, Any]:
    is_ok = not arrival.error_class and arrival.state == "settled"
    cost = None if arrival.price_state == UNPRICED else arrival.cost_nanousd
    if is_ok:
        summary = f"{arrival.model} answered in {money.duration(arrival.latency_us)} for {money.usd(cost)}"
    else:
        summary = f"The newest call failed: {arrival.error_class or arrival.state}"
    return {
        "is_ok": is_ok,
        "summary": summary,
        "is_simulated": bool(arrival.is_simulated),
        "url": reverse("request_detail", args=[organization.slug, arrival.request_id]),
    }


def _snippets(base_url: str) -> list[Snippet]:
    python = (f'base_url="{base_url}",', f'api_key=os.environ["{_KEY_VARIABLE}"],')
    node = (f'baseURL: "{base_url}",', f"apiKey: process.env.{_KEY_VARIABLE},")
    curl = (f"curl {base_url}/chat/completions \\", f'-H "Authorization: Bearer ${_KEY_VARIABLE}" \\')
    return [
        Snippet("python", "Python", "pip install openai", _PYTHON % python, python),
        Snippet("node", "Node.js", "npm install openai", _NODE % node, node),
        Snippet("curl", "curl", "", _CURL % curl, curl),
    ]


_PYTHON = f"""import os
from openai import OpenAI

client = OpenAI(
    %s
    %s
)
answer = client.chat.completions.create(
    model="{_MODEL}",
    messages=[{{"role": "user", "content": "Say hello in five words."}}],
)
print(answer.choices[0].message.content)
"""
_NODE = f"""import OpenAI from "openai";

const client = new OpenAI({{
  %s
  %s
}});
const answer = await client.chat.completions.create({{
  model: "{_MODEL}",
  messages: [{{ role: "user", content: "Say hello in five words." }}],
}});
console.log(answer.choices[0].message.content);
"""
_CURL = f"""%s
  %s
  -H "Content-Type: application/json" \\
  -d '{{"model": "{_MODEL}", "messages": [{{"role": "user", "content": "Say hello in five words."}}]}}'
"""
