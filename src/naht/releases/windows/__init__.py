"""Windows: its release history as data, and what a device's build and updates truly mean.

Windows patches itself; here it is decided, explained and reported. Refuses to guess from a build
number alone where two products or tracks share it.
"""
