"""Tests of choose, module by module."""
