"""Compile every template of the project, so that a broken one fails the build and not a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.template import TemplateSyntaxError, engines


class Command(BaseCommand):
    help = "Compile every template below templates/."

    def handle(self, *args: Any, **options: Any) -> None:
        root = settings.BASE_DIR / "templates"
        broken = [problem for path in sorted(root.rglob("*.*")) if path.is_file() for problem in _problems(path)]
        if broken:
            raise CommandError("\n".join(broken))
        self.stdout.write("All templates compile.")


def _problems(path: Path) -> list[str]:
    name = str(path.relative_to(settings.BASE_DIR / "templates"))
    try:
        engines["django"].get_template(name)
    except (TemplateSyntaxError, UnicodeDecodeError) as error:
        return [f"{name}: {error}"]
    return []
