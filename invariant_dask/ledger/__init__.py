"""What happened in runs: events, their journal and fold, and the history of all runs."""
