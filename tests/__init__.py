"""The test suite: pure code by value, everything else against a sandbox."""
