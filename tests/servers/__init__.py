"""Private servers for tests: started on free ports in folders of their own, stopped by whoever started them."""
