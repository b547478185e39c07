"""The bench: Tenuto beside the raw limit and beside other engines, measured in one run on this machine.

`python -m bench` runs every subject's measurements in rounds, interleaved, each in a fresh process and a fresh
temporary directory, and prints medians and ratios. What the numbers mean: docs/performance.md.
"""
