"""Tests without sockets: pure code, and asynchronous code that waits in virtual time."""
