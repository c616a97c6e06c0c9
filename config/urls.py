"""Every path that Django serves; `/v1` and `/api/v1` belong to the data plane (see `asgi.py`)."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("", include("accounts.urls")),
    path("", include("analytics.urls")),
    path("", include("gateway.urls")),
]
