"""What runs have measured, as tables and pictures."""
