"""Programs that are measured, or that make load; each runs as a process of its own."""
