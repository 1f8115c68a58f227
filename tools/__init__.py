"""What writes the committed files, and checks of a change of the code's shape."""
