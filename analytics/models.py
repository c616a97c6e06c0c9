"""The tables of analytics: route changes, their comparisons, experiments and their evaluations, and the collectors of
customers with what waits for them."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q

from accounts import identifiers


class RouteChange(models.Model):
    """Something that changed where traffic goes; charts mark it and the quality job compares before with after."""

    class Kind(models.TextChoices):
        POLICY = "policy", "Policy edited"
        CATALOG = "catalog", "Catalog or price changed"
        EXPERIMENT = "experiment", "Experiment ended"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.route_change, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="route_changes")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    task_type = models.CharField(max_length=40, blank=True)  # empty: all task types
    before = models.JSONField(default=dict)  # e.g. {"model": "openai/gpt-5.4", "policy_version": "pol_…"}
    after = models.JSONField(default=dict)
    summary = models.CharField(max_length=300)
    changed_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    happened_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.summary


class QualityComparison(models.Model):
    """The latest before/after comparison of one signal in one task type for one route change."""

    route_change = models.ForeignKey(RouteChange, on_delete=models.CASCADE, related_name="comparisons")
    task_type = models.CharField(max_length=40)
    signal = models.CharField(max_length=40)
    result = (
        models.JSONField()
    )  # n, mean, interval, p-value of both sides and the difference, as the pure function returned them
    verdict = models.CharField(max_length=20)  # regressed, improved, unchanged, not_enough_data
    computed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["route_change", "task_type", "signal"], name="one_comparison_per_signal")
        ]

    def __str__(self) -> str:
        return f"{self.signal} of {self.task_type}: {self.verdict}"


class Experiment(models.Model):
    """A two-arm test between models on live traffic."""

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.experiment, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="experiments")
    name = models.CharField(max_length=200)
    question = models.TextField(blank=True)
    task_type = models.CharField(max_length=40, blank=True)  # empty: all task types
    unit = models.CharField(max_length=20, default="session")  # session, end_user, agent_run, request
    control_model = models.CharField(max_length=120)
    treatment_model = models.CharField(max_length=120)
    treatment_share = models.FloatField(default=0.5)
    primary_metric = models.CharField(max_length=40, default="success")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    started_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self) -> str:
        return self.name


class ExperimentEvaluation(models.Model):
    """The latest evaluation of an experiment: every metric with estimate, interval, p-value, and the sample-ratio
    check."""

    experiment = models.OneToOneField(Experiment, on_delete=models.CASCADE, related_name="evaluation")
    result = models.JSONField()
    verdict = models.CharField(max_length=30)
    computed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.experiment}: {self.verdict}"


class StaleHour(models.Model):
    """The mark that calls of this hour were loaded and its roll-up has not been computed since.

    Append-only, one row a segment and hour: concurrent loaders never wait for each other. The roll-up deletes exactly
    the marks that it had read before it computed. Plain id, no foreign key: the log may know an organization longer.
    """

    organization_id = models.CharField(max_length=40)
    hour_at = models.DateTimeField()  # UTC start of the hour in which the calls started
    marked_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.organization_id} {self.hour_at}"


class JobLease(models.Model):
    """The right to run a job that must not run twice at once, until a time; a worker that dies loses it by the
    clock."""

    name = models.CharField(primary_key=True, max_length=40)
    held_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} until {self.held_until}"


class CollectorQuerySet(models.QuerySet["Collector"]):
    def for_organization(self, organization_id: str) -> CollectorQuerySet:
        return self.filter(organization_id=organization_id)

    def due(self, now: dt.datetime) -> CollectorQuerySet:
        """Return the collectors that something may be sent to at `now`, and that nobody is sending to."""
        free = Q(leased_until=None) | Q(leased_until__lte=now)
        return self.filter(free, is_enabled=True, next_attempt_at__lte=now)


class Collector(models.Model):
    """A customer's OpenTelemetry collector: where the records of an organization, or of one workspace, go as OTLP."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.collector, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    # Empty: the calls of all workspaces.
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, null=True, related_name="+")
    endpoint = models.CharField(max_length=500)  # without /v1/traces
    headers_envelope = models.BinaryField(default=bytes)  # encrypted JSON, name → value; empty: none
    header_names = models.JSONField(default=list)
    sends_traces = models.BooleanField(default=True)
    sends_metrics = models.BooleanField(default=True)
    sample_percent = models.PositiveSmallIntegerField(default=100)  # of traces; calls that failed are always sent
    is_enabled = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    failing_since_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=300, blank=True)
    last_success_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(default=dt.datetime.fromtimestamp(0, dt.UTC))
    leased_until = models.DateTimeField(null=True)  # a worker is sending to it
    sent_records = models.PositiveBigIntegerField(default=0)
    dropped_records = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CollectorQuerySet.as_manager()

    def __str__(self) -> str:
        return self.endpoint


class TelemetryBatch(models.Model):
    """Some records of one segment that a collector has not taken yet."""

    collector = models.ForeignKey(Collector, on_delete=models.CASCADE, related_name="batches")
    segment_id = models.CharField(max_length=80)
    part = models.PositiveIntegerField()
    records = models.PositiveIntegerField()  # how many
    payload = models.BinaryField()  # see analytics.deliveries
    has_sent_traces = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_index=True)  # old batches are dropped

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collector", "segment_id", "part"], name="one_batch_per_part_of_a_segment")
        ]

    def __str__(self) -> str:
        return f"{self.segment_id} part {self.part} for {self.collector_id}"
