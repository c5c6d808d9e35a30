"""What a run reports: tables, JSON and figures."""
