"""Sweep service: planning, scheduling on Ray, records, MLflow and the comparison of trials."""
