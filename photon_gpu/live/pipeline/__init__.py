"""Frames to the store while they arrive: encode, deliver, publish."""
