"""Measure how fast this machine encodes, compared with its ceilings: ``photon-gpu profile``."""
