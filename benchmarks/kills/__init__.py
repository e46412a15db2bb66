"""Kill a bulk run many times. Check that no song is lost and no song is created twice."""
