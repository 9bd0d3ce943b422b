"""The paper's analyses: what each measures, as the scripts of the same names run it."""
