"""Inference on sufficient statistics: pure functions on frozen dataclasses. No framework, no clock, no I/O."""
