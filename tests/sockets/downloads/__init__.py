"""Tests of downloads over real sockets."""
