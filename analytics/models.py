"""The tables of analytics: route changes, their comparisons, experiments and their evaluations."""

from __future__ import annotations

from django.db import models

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
