"""Plans, the usage ledger, quota, invoices and margin."""
