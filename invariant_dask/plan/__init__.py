"""From a graph to digests, decisions and reasons. Pure: look-ups and file hashes are injected."""
