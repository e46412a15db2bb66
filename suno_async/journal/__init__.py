"""A journal stores requests, tasks and results on disk, so no task is lost or created twice."""
