"""What runs the trials: planning, scheduling on Ray, records, MLflow and the comparison."""
