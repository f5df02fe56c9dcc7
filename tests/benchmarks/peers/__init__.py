"""The same sweeps by gapsweep and by its peers."""
