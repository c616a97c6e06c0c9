"""The pages of this app by name."""

from __future__ import annotations

from django.urls import path

from accounts.views import entrance, home, keys, members, settings, webhooks

urlpatterns = [
    path("", home.home, name="home"),
    path("organizations/new/", home.organization_new, name="organization_new"),
    path("accounts/link/<str:token>/", entrance.sign_in_link, name="sign_in_link"),
    path("accounts/invitations/<str:token>/", entrance.invitation, name="invitation"),
    path("o/<slug:slug>/", home.organization_home, name="organization_home"),
    path("o/<slug:slug>/keys/", keys.keys, name="keys"),
    path("o/<slug:slug>/keys/new/", keys.key_create, name="key_create"),
    path("o/<slug:slug>/keys/<str:key_id>/rotate/", keys.key_rotate, name="key_rotate"),
    path("o/<slug:slug>/keys/<str:key_id>/guardrails/", keys.key_guardrails, name="key_guardrails"),
    path("o/<slug:slug>/keys/<str:key_id>/revoke/", keys.key_revoke, name="key_revoke"),
    path("o/<slug:slug>/members/", members.members, name="members"),
    path("o/<slug:slug>/members/invite/", members.member_invite, name="member_invite"),
    path("o/<slug:slug>/members/leave/", members.organization_leave, name="organization_leave"),
    path(
        "o/<slug:slug>/members/invitations/<str:invitation_id>/withdraw/",
        members.invitation_withdraw,
        name="invitation_withdraw",
    ),
    path("o/<slug:slug>/members/<int:membership_id>/role/", members.member_change_role, name="member_change_role"),
    path("o/<slug:slug>/members/<int:membership_id>/remove/", members.member_remove, name="member_remove"),
    path("o/<slug:slug>/settings/", settings.settings, name="settings"),
    path("o/<slug:slug>/settings/name/", settings.organization_rename, name="organization_rename"),
    path("o/<slug:slug>/settings/time-zone/", settings.organization_time_zone, name="organization_time_zone"),
    path("o/<slug:slug>/settings/remove/", settings.organization_remove, name="organization_remove"),
    path("o/<slug:slug>/settings/workspaces/new/", settings.workspace_create, name="workspace_create"),
    path(
        "o/<slug:slug>/settings/workspaces/<str:workspace_id>/name/",
        settings.workspace_rename,
        name="workspace_rename",
    ),
    path(
        "o/<slug:slug>/settings/workspaces/<str:workspace_id>/content/",
        settings.workspace_content,
        name="workspace_content",
    ),
    path("o/<slug:slug>/webhooks/", webhooks.listing, name="webhooks"),
    path("o/<slug:slug>/webhooks/new/", webhooks.add, name="webhook_add"),
    path("o/<slug:slug>/webhooks/<str:endpoint_id>/", webhooks.change, name="webhook_change"),
    path("o/<slug:slug>/webhooks/<str:endpoint_id>/rotate/", webhooks.rotate, name="webhook_rotate"),
    path("o/<slug:slug>/webhooks/<str:endpoint_id>/test/", webhooks.attempt, name="webhook_test"),
    path("o/<slug:slug>/webhooks/<str:endpoint_id>/pause/", webhooks.pause, name="webhook_pause"),
    path("o/<slug:slug>/webhooks/<str:endpoint_id>/remove/", webhooks.remove, name="webhook_remove"),
    path("o/<slug:slug>/webhooks/deliveries/<str:delivery_id>/resend/", webhooks.resend, name="webhook_resend"),
]
