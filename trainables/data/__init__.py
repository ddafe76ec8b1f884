"""Images on disk: what is known of each data set, its Arrow store, and how a trial reads that store."""
