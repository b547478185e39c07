"""The domain: tasks, goals, leases, signals, events, and the pure rules between them. No I/O, nothing of ours below."""
