"""The sample data set: synthetic, for trying and testing the package; never a result."""
