"""`manage.py up`: everything in one process, from an empty directory to a page that one can sign in to."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import organizations, users
from config import bootstrap, env, serving
from config.demo import load
from gateway.providers import registry


class Command(BaseCommand):
    help = "Prepare the stores, make the first organization and the demo, and serve everything in this process."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo", choices=["none", "small", "large"], default="small", help="how much demo traffic to make (once)"
        )

    def handle(self, *args: Any, demo: str, **options: Any) -> None:
        if not settings.RUNS_WORKER_IN_PROCESS:
            raise CommandError("`up` is the embedded profile's. For KAIROS_PROFILE=full see deploy/compose.yaml.")
        host, port = env.text("KAIROS_HOST", "127.0.0.1"), env.integer("PORT", 8000)
        try:
            listener = serving.listen(host, port)
        except serving.PortTaken as error:
            raise CommandError(str(error)) from error
        with _only_one(settings.DATA_DIR):
            self.stdout.write(f"KairosRoute · state in {settings.DATA_DIR}")
            if self.stdout.isatty() and not env.text("KAIROS_LOG_LEVEL", ""):
                # A line for each page would push the link and the key off the terminal.
                logging.getLogger("config.pages").setLevel(logging.WARNING)
            call_command("migrate", interactive=False, verbosity=0)
            call_command("migrate_clickhouse", verbosity=0)
            first = _first_owner()
            traffic = _demo(demo, first)

            def on_ready() -> None:
                self._say_ready(first, is_loading=traffic is not None)
                if traffic is not None:
                    traffic.start()

            is_clean = serving.serve("config.asgi:application", on=listener, on_ready=on_ready)
            if traffic is not None and is_clean:
                traffic.stop()
            if is_clean:
                self.stdout.write(f"\nKairosRoute stopped; its state stays in {settings.DATA_DIR}.")
        if not is_clean:
            raise CommandError("The server did not start; the reason is above.")

    def _say_ready(self, first: bootstrap.FirstOwner, *, is_loading: bool) -> None:
        key = first.api_key or "shown at the first start; make another under Keys"
        answered_by = "your provider answers" if first.has_provider else "the simulator answers, nothing is billed"
        self.stdout.write(
            f"""
  KairosRoute serves on {settings.BASE_URL}   (stop with Ctrl-C)

  Sign in   {first.sign_in_link}
            as {first.owner_email}; the link works once, within a day
  API key   {key}   ({answered_by})
  Base URL  {settings.BASE_URL}/v1

"""
        )
        if is_loading:
            self.stdout.write("  The organization “Demo” fills within a minute; remove it in its settings.\n")
        self.stdout.flush()


def _first_owner() -> bootstrap.FirstOwner:
    """Make what is missing of the first owner, and a new sign-in link: whoever starts the process may enter."""
    try:
        return bootstrap.prepare(
            organization_name=env.text("KAIROS_ORGANIZATION", "My organization"),
            email=env.text("KAIROS_OWNER_EMAIL", "owner@example.com"),
            makes_new_keys=False,
            base_url=settings.BASE_URL,
            provider_settings=settings.PROVIDER_SETTINGS,
            now=timezone.now(),
        )
    except (users.InvalidEmail, organizations.InvalidOrganization, registry.ProviderMisconfigured) as error:
        raise CommandError(str(error)) from error


def _demo(size: str, first: bootstrap.FirstOwner) -> load.DemoLoad | None:
    """Return what loads the demo, None when none is wanted or it was made before."""
    mark = settings.DATA_DIR / f"demo-{size}"
    if size == "none" or mark.exists():
        return None
    return load.DemoLoad(owner_email=first.owner_email, size=load.SIZES[size], mark=mark)


def _only_one(data_dir: Path) -> IO[str]:
    """Return the open lock file of this state directory; closing it lets go.

    Raises:
        CommandError: another process serves from it.
    """
    lock = (data_dir / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise CommandError(
            f"KairosRoute already runs on this state ({data_dir}, process {holder}). "
            "Stop it first, or use another KAIROS_DATA_DIR and PORT."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
