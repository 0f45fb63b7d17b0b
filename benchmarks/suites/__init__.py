"""What can be run: methods, ablated and tuned ones, and the suites of them."""
