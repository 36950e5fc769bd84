"""The asv suites of infbench."""
