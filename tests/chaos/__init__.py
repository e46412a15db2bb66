"""Tests with connections that break."""
