"""The suite: pure parts by value, the rest over real sockets against the sandbox."""
