"""Stores and running networks into results."""
