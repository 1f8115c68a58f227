"""Generators of committed files, and checks of the tree. They are not in the wheel."""
