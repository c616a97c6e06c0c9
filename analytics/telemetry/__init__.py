"""Records of calls as OpenTelemetry data: OTLP's JSON form, written by us. Pure.

    attributes   what a record says, in the words of the GenAI conventions
    spans        a record as a span with one child per attempt
    metrics      records as histograms and sums

Keeping records for a collector and sending them is `analytics.deliveries`; which collectors there are,
`analytics.collectors`. No prompt and no answer is in a record, so none is in what is made of it.
"""
