"""What Tenuto on PostgreSQL is compared with."""
