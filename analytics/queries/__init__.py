"""All SELECT SQL, one file per subject; what may go wrong is named here, so that pages need not know the driver."""

from __future__ import annotations

from analytics.clickhouse.errors import QueryRefused, StoreError, StoreHeld, StoreUnavailable

__all__ = ["QueryRefused", "StoreError", "StoreHeld", "StoreUnavailable"]
