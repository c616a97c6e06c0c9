"""The tables of billing: which segments are posted, and the usage ledger that money is summed from."""

from __future__ import annotations

from django.db import models


class LoadedSegment(models.Model):
    """The mark that a segment's rows stand in ClickHouse and its usage in the ledger. Its id is the idempotency key."""

    segment_id = models.CharField(primary_key=True, max_length=80)
    records = models.PositiveIntegerField()
    dead_letters = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    loaded_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return self.segment_id


class UsageEntry(models.Model):
    """Usage of one segment, aggregated by everything that money depends on. Append-only."""

    segment = models.ForeignKey(LoadedSegment, on_delete=models.PROTECT, related_name="entries")
    # Plain ids, no foreign keys: the ledger outlives the workspaces and keys that it speaks of.
    organization_id = models.CharField(max_length=40)
    workspace_id = models.CharField(max_length=40)
    api_key_id = models.CharField(max_length=40)
    key_source = models.CharField(max_length=12)
    price_version = models.CharField(max_length=40, blank=True)
    price_state = models.CharField(max_length=12)
    state = models.CharField(max_length=12)
    usage_date = models.DateField()  # UTC date of the calls' start
    calls = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    provider_cost_nanousd = models.BigIntegerField()
    billed_nanousd = models.BigIntegerField()
    digest = models.BigIntegerField()  # sum of analytics.request_log.digest over the calls, modulo 2**63

    class Meta:
        indexes = [
            # usage of an organization in a period: quota, invoices, reconciliation
            models.Index(fields=["organization_id", "usage_date"], name="usage_by_org_and_date"),
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.usage_date}: {self.calls} calls"


class DeadLetter(models.Model):
    """A line of a segment that the log store refuses: kept as it came, out of the ledger as it is out of the logs.

    In the database and not in a file, because workers share no disk and because it commits with the segment's mark:
    each is kept exactly once. Lines of content are the encrypted envelopes that the gateway wrote.
    """

    class Kind(models.TextChoices):
        RECORD = "R", "Record"
        CONTENT = "C", "Content"
        FEEDBACK = "F", "Feedback"

    segment = models.ForeignKey(LoadedSegment, on_delete=models.PROTECT, related_name="letters")
    kind = models.CharField(max_length=1, choices=Kind.choices)
    position = models.PositiveIntegerField()  # among the segment's lines of this kind
    reason = models.CharField(max_length=200)  # never quotes the line
    columns = models.JSONField()  # what the line's elements mean
    line = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["segment", "kind", "position"], name="one_letter_per_line")]

    def __str__(self) -> str:
        return f"{self.segment_id} {self.kind}{self.position}: {self.reason}"


class Spending(models.Model):
    """What was booked in a quarter of an hour for one value of a dimension; budgets are counted from these sums.

    Added to in the transaction that marks a segment, so that it holds each call once, as the ledger does.
    """

    organization_id = models.CharField(max_length=40)
    dimension = models.CharField(max_length=12)  # organization, workspace, api_key, agent, agent_run, end_user, tag
    value = models.CharField(max_length=330)
    quarter = models.BigIntegerField()  # of an hour, since the Unix epoch
    booked_nanousd = models.BigIntegerField()

    class Meta:
        constraints = [
            # its index answers: what one value, or each value of a dimension, spent in a period
            models.UniqueConstraint(
                fields=["organization_id", "dimension", "value", "quarter"], name="one_sum_a_value_and_quarter"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.dimension} {self.value}: {self.booked_nanousd}"


class CountedDimension(models.Model):
    """End users, or a tag, whose spend is kept apart because a budget asks for it."""

    organization_id = models.CharField(max_length=40)
    dimension = models.CharField(max_length=12)
    name = models.CharField(max_length=64, blank=True)  # of the tag
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization_id", "dimension", "name"], name="dimension_is_counted_once")
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.dimension} {self.name}"
