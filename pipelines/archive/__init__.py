"""What an archive holds and how to get one recording out of it. Opens no audio."""
