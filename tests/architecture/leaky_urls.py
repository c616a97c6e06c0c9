"""A URLconf with the mistakes that the tenancy test is there to find."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, URLResolver, include, path

from accounts import access, roles
from accounts.models import ApiKey, Organization


def unguarded(request: HttpRequest, slug: str) -> HttpResponse:
    """Forgets the decorator."""
    return HttpResponse(get_object_or_404(Organization, slug=slug).name)


@access.organization_view(roles.MANAGE_KEYS)
def unscoped(request: access.MemberRequest, organization: Organization, key_id: str) -> HttpResponse:
    """Looks an object up without its organization."""
    return HttpResponse(get_object_or_404(ApiKey, pk=key_id).name)


urlpatterns: list[URLPattern | URLResolver] = [
    path("o/<slug:slug>/unguarded/", unguarded, name="unguarded"),
    path("o/<slug:slug>/", include([path("unscoped/<str:key_id>/", unscoped, name="unscoped")])),
]
