"""Infinite Scribe's backend: one API gateway and ten writing agents, one process per role."""
