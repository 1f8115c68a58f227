"""Scores of images with parts taken away."""
