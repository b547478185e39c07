"""What Tenuto on SQLite is compared with."""
