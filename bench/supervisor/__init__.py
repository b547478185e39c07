"""The supervisor beside what the standard library and Ray make of the same work: starting, telling, asking."""
