"""What Tenuto on Redis is compared with."""
