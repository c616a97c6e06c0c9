"""The components on one page, for those who build pages; served in debug mode only."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Show every component in its variants."""
    if not settings.DEBUG:
        raise Http404
    return render(request, "analytics/styleguide.html")
