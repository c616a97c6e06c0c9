"""The pages of this app by name."""

from __future__ import annotations

from django.urls import URLPattern, path

from analytics.views import styleguide

urlpatterns: list[URLPattern] = [
    path("styleguide/", styleguide.styleguide, name="styleguide"),
]
