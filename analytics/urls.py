"""The pages of this app by name."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
