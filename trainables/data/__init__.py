"""Prepared data sets: facts about each one, its memory-mapped store, and the data of one trial."""
