"""Scripts that run the experiments: thin layers of flags, files and tables over the library."""
