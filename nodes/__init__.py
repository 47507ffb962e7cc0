"""The nodes: thin, each a schema and one library call."""
