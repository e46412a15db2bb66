"""Files: downloads of results, uploads of local audio."""
