"""Scores handed back step by step, by rules: DeepLift, relevance propagation, full gradients."""
