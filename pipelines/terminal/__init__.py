"""The terminal output of a run: logs, progress and the summary."""
