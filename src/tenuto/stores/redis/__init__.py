"""The Redis engine: the whole store on one server, in scripts that run inside it."""
