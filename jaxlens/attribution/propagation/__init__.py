"""Scores handed back step by step by rules of their own: DeepLift, relevance propagation, full gradients."""
