"""Services that were named to the dashboard, and what their admin ports return."""
