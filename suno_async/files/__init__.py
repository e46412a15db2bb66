"""File transfers: downloads of results, uploads of local audio."""
