"""What vision transformers attend to."""
