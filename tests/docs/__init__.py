"""Tests that run and type-check the documentation, and check that it is complete."""
