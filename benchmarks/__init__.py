"""Speed and quality, side by side with other systems in one run. Records are under `results`."""
