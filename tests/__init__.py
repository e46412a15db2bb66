"""The test suite. Pure code is tested without I/O, everything else against a sandbox."""
