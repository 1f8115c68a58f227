"""Methods that score images with parts taken away."""
