"""Tests that run, type-check and complete the documentation."""
