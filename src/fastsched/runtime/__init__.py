"""The loop that runs a graph for real."""
