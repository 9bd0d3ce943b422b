"""The paper's tables of results: which runs they are of, how far these are, and what is missing."""
