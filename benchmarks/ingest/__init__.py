"""How fast, at what cost and how exactly one worker process loads sealed segments: `python -m benchmarks.ingest`."""
