"""What is trained: SimCLR and its linear probe in plain PyTorch, with no knowledge of Ray, MLflow or the sweep."""
