"""Families of networks: each module here is one, named as on the command line."""
