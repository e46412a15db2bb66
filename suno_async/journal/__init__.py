"""A journal stores requests, tasks and results on disk, so that no task is lost or created twice."""
