"""The pages of this app by name."""

from __future__ import annotations

from django.urls import URLPattern, path

from analytics.views import (
    collectors,
    costs,
    experiments,
    onboarding,
    overview,
    quality,
    request_detail,
    requests,
    styleguide,
)

urlpatterns: list[URLPattern] = [
    path("o/<slug:slug>/overview/", overview.overview, name="overview"),
    path("o/<slug:slug>/requests/", requests.requests, name="requests"),
    path("o/<slug:slug>/requests.csv", requests.requests_csv, name="requests_csv"),
    path("o/<slug:slug>/requests/<str:request_id>/", request_detail.request_detail, name="request_detail"),
    path("o/<slug:slug>/costs/", costs.costs, name="costs"),
    path("o/<slug:slug>/costs.csv", costs.costs_csv, name="costs_csv"),
    path("o/<slug:slug>/onboarding/", onboarding.onboarding, name="onboarding"),
    path("o/<slug:slug>/onboarding/status/", onboarding.onboarding_status, name="onboarding_status"),
    path("o/<slug:slug>/quality/", quality.changes, name="quality"),
    path("o/<slug:slug>/quality/<str:change_id>/", quality.change, name="quality_change"),
    path("o/<slug:slug>/quality/<str:change_id>.csv", quality.change_csv, name="quality_change_csv"),
    path("o/<slug:slug>/experiments/", experiments.listing, name="experiments"),
    path("o/<slug:slug>/experiments/<str:experiment_id>/", experiments.detail, name="experiment"),
    path("o/<slug:slug>/experiments/<str:experiment_id>.csv", experiments.detail_csv, name="experiment_csv"),
    path("o/<slug:slug>/experiments/<str:experiment_id>/start/", experiments.start, name="experiment_start"),
    path("o/<slug:slug>/experiments/<str:experiment_id>/stop/", experiments.stop, name="experiment_stop"),
    path("o/<slug:slug>/integrations/", collectors.listing, name="integrations"),
    path("o/<slug:slug>/integrations/collectors/new/", collectors.add, name="collector_add"),
    path("o/<slug:slug>/integrations/collectors/<str:collector_id>/", collectors.change, name="collector_change"),
    path("o/<slug:slug>/integrations/collectors/<str:collector_id>/test/", collectors.attempt, name="collector_test"),
    path("o/<slug:slug>/integrations/collectors/<str:collector_id>/pause/", collectors.pause, name="collector_pause"),
    path(
        "o/<slug:slug>/integrations/collectors/<str:collector_id>/remove/", collectors.remove, name="collector_remove"
    ),
    path("styleguide/", styleguide.styleguide, name="styleguide"),
]
