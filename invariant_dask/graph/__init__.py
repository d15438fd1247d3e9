"""Graphs as people write them: nodes, markers, validation and order. Pure."""
