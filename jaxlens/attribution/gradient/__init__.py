"""Gradients, and sums of them: along paths, over noise, through a layer."""
