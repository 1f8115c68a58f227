"""Speed and quality, side by side with other systems in one run. The records are in `results`."""
