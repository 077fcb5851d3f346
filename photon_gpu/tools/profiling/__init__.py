"""Measure how fast this machine encodes, beside its own ceilings: ``photon-gpu profile``."""
