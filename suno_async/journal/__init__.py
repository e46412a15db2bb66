"""Journals: submissions, tasks and results on disk, so that nothing is lost or paid twice."""
