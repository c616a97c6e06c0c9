"""`manage.py simulator`: the simulated provider as an HTTP server, to be wired in by `KAIROS_PROVIDER_*_BASE_URL`."""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError

from gateway.catalog import loader
from gateway.management.simulator_server import SimulatorServer


class Command(BaseCommand):
    help = "Serve the simulated provider over HTTP in the protocols of OpenAI, Anthropic and Gemini."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8090)
        parser.add_argument("--require-key", default="", help="refuse calls with another API key (default: take any)")
        parser.add_argument("--scale", type=float, default=1.0, help="multiplies the model's waits; 0 answers at once")
        parser.add_argument("--no-faults", action="store_true", help="ignore marks and fields that ask for faults")
        parser.add_argument("--flaws", action="store_true", help="let models make mistakes at their own rates")

    def handle(
        self,
        *args: Any,
        host: str,
        port: int,
        require_key: str,
        scale: float,
        no_faults: bool,
        flaws: bool,
        **options: Any,
    ) -> None:
        if scale < 0:
            raise CommandError("--scale must be 0 or more.")
        app = SimulatorServer(
            models=(model.upstream for model in loader.load_catalog()),
            required_key=require_key,
            scale=scale,
            has_faults=not no_faults,
            has_flaws=flaws,
        )
        self.stdout.write(f"Simulating on http://{host}:{port}/v1 (journal: /_journal)")
        # Wanted disconnects look like app errors to uvicorn; they are in the journal, so its log stays quiet.
        uvicorn.run(app, host=host, port=port, log_level="critical", access_log=False, lifespan="off")
