"""`manage.py serve gateway|web`: one process of the full profile."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import env, serving

_APPLICATIONS = {"gateway": "config.asgi:data_plane", "web": "config.asgi:control_plane"}


class Command(BaseCommand):
    help = "Serve the data plane (gateway) or the pages and the management API (web). One process, one core."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=sorted(_APPLICATIONS))

    def handle(self, *args: Any, part: str, **options: Any) -> None:
        host, port = env.text("KAIROS_HOST", "127.0.0.1"), env.integer("PORT", 8000)
        try:
            listener = serving.listen(host, port)
        except serving.PortTaken as error:
            raise CommandError(str(error)) from error
        ready = f"Serving the {part} on http://{host}:{port}"
        if not serving.serve(_APPLICATIONS[part], on=listener, on_ready=lambda: self.stdout.write(ready)):
            raise CommandError("The server did not start; the reason is above.")
