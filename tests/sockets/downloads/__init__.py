"""Tests that use real sockets on this machine."""
