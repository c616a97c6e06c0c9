from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Composition"

    def ready(self) -> None:
        # Makes our Celery application the current one, so that every process publishes to the deployment's broker.
        from config import celery  # noqa: F401
