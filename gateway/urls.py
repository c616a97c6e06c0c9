"""The pages of this app by name."""

from __future__ import annotations

from django.urls import URLPattern, path

from gateway.views import experiments, guardrails, routing

urlpatterns: list[URLPattern] = [
    path("o/<slug:slug>/guardrails/", guardrails.guardrails, name="guardrails"),
    path("o/<slug:slug>/guardrails/<str:workspace_id>/", guardrails.save, name="guardrails_save"),
    path("o/<slug:slug>/routing/", routing.routing, name="routing"),
    path("o/<slug:slug>/routing/experiments/new/", experiments.new, name="experiment_new"),
    path("o/<slug:slug>/routing/<str:workspace_id>/", routing.save, name="routing_save"),
    path(
        "o/<slug:slug>/routing/<str:workspace_id>/versions/<int:number>/restore/",
        routing.roll_back,
        name="routing_roll_back",
    ),
]
