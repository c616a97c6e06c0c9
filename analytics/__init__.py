"""Request logs, dashboards, quality, experiments and exports."""
