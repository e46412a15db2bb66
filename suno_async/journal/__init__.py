"""Journals store creates, tasks and results on disk, so that nothing is lost or paid twice."""
