"""A run: its configuration, its way through the tasks, and its work directory."""
