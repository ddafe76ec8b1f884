"""Images on disk: what is known of each data set, how it becomes an Arrow store, and how a trial reads that store."""
