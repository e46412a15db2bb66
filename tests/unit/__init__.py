"""Tests without sockets: pure code, and waiting in virtual time."""
