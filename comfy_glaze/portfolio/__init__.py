"""One picture's path from disk to disk, and many of them: engine, files, reports, resuming."""
