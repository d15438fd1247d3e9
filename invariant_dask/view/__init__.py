"""Pictures of graphs, plans and runs."""
