"""What serving sees: requests beside training data and the days before, live quality, tests of versions, feedback."""
