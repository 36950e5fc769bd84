"""What infbench adds to asv: environments of whole release sets, and readings of the stored results."""
