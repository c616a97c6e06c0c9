"""What happens to calls and money when processes die: real parts, killed and stopped, counted afterwards.

`python -m tests.faults` (`make faults`) runs it; it needs PostgreSQL, Redis and the ClickHouse library of the suite.

    stack     the processes: gateway, worker, ClickHouse server, upstream (llmock)
    load      clients that note what they saw
    evidence  what the upstream, the log store and the ledger say
    verdict   the comparison                                                       [pure]
"""
