"""What the gateway adds to a call, beside a plain reverse proxy in the same run: `python -m benchmarks.gateway`."""
