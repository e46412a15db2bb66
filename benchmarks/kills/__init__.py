"""Kill a bulk run many times: no song may be lost, and none may be created twice."""
