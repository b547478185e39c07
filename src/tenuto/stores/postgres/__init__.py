"""The PostgreSQL engine: the store in a schema of a database, for many machines."""
