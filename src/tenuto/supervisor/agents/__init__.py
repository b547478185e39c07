"""Service agents: classes that run by themselves, in a process, in a thread, or on an event loop."""
