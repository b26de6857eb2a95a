"""What a host runs, against what its packages put on disk. Speaks to engines by protocol."""
