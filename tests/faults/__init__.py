"""What happens to calls and money when processes die: real parts, killed and stopped, counted afterwards.

`python -m tests.faults` (`make faults`) runs it; it needs PostgreSQL, redis-server and the suite's ClickHouse
library.

    stack     the processes: gateway, worker, Redis, ClickHouse server, upstream (llmock)
    load      clients that note what they saw
    evidence  what the upstream, the log store and the ledger say
    verdict   the comparison                                                       [pure]
"""
