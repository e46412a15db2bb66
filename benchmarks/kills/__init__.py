"""Kill a program that creates many songs. Check that no song is lost or created twice."""
