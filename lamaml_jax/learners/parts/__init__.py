"""What serves one family of methods, or every factory, and is no method itself."""
