"""What the SQLite journal does per second, and whether it loses what it acknowledged."""
