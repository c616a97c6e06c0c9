"""The pages of this app by name."""

from __future__ import annotations

from django.urls import URLPattern, path

from gateway.views import contract_prices, experiments, guardrails, health, limits, models, provider_keys, routing

urlpatterns: list[URLPattern] = [
    path("models", models.models, name="models"),
    path("models.json", models.models_json, name="models_json"),
    path("models.csv", models.models_csv, name="models_csv"),
    path("models/<path:name>", models.model, name="model"),
    path("o/<slug:slug>/contract-prices/", contract_prices.prices, name="contract_prices"),
    path("o/<slug:slug>/contract-prices/add/", contract_prices.add, name="contract_price_add"),
    path("o/<slug:slug>/contract-prices/<str:price_id>/end/", contract_prices.end, name="contract_price_end"),
    path("o/<slug:slug>/contract-prices.csv", contract_prices.prices_csv, name="contract_prices_csv"),
    path("o/<slug:slug>/guardrails/", guardrails.guardrails, name="guardrails"),
    path("o/<slug:slug>/guardrails/<str:workspace_id>/", guardrails.save, name="guardrails_save"),
    path("o/<slug:slug>/provider-health/", health.provider_health, name="provider_health"),
    path("o/<slug:slug>/provider-health.csv", health.provider_health_csv, name="provider_health_csv"),
    path("o/<slug:slug>/provider-keys/", provider_keys.provider_keys, name="provider_keys"),
    path("o/<slug:slug>/provider-keys/new/", provider_keys.provider_key_create, name="provider_key_create"),
    path(
        "o/<slug:slug>/provider-keys/<str:credential_id>/change/",
        provider_keys.provider_key_change,
        name="provider_key_change",
    ),
    path(
        "o/<slug:slug>/provider-keys/<str:credential_id>/replace/",
        provider_keys.provider_key_replace,
        name="provider_key_replace",
    ),
    path(
        "o/<slug:slug>/provider-keys/<str:credential_id>/test/",
        provider_keys.provider_key_test,
        name="provider_key_test",
    ),
    path(
        "o/<slug:slug>/provider-keys/<str:credential_id>/switch/",
        provider_keys.provider_key_switch,
        name="provider_key_switch",
    ),
    path(
        "o/<slug:slug>/provider-keys/<str:credential_id>/delete/",
        provider_keys.provider_key_delete,
        name="provider_key_delete",
    ),
    path("o/<slug:slug>/limits/", limits.overview, name="limits"),
    path("o/<slug:slug>/limits/new/", limits.create, name="limit_create"),
    path("o/<slug:slug>/limits/<str:limit_id>/", limits.edit, name="limit"),
    path("o/<slug:slug>/limits/<str:limit_id>/remove/", limits.remove, name="limit_remove"),
    path("o/<slug:slug>/routing/", routing.routing, name="routing"),
    path("o/<slug:slug>/routing/experiments/new/", experiments.new, name="experiment_new"),
    path("o/<slug:slug>/routing/<str:workspace_id>/", routing.save, name="routing_save"),
    path(
        "o/<slug:slug>/routing/<str:workspace_id>/versions/<int:number>/restore/",
        routing.roll_back,
        name="routing_roll_back",
    ),
]
