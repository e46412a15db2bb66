"""Journals store create requests, tasks and results on disk, so nothing is lost or paid twice."""
