"""Faults at random moments over small real sweeps: `make chaos`."""
