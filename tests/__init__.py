"""The test suite.

Pure code is tested without I/O. The client is tested in virtual time against a simulated server,
and over real sockets against the sandbox.
"""
