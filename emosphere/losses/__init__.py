"""What training pulls down: concordance over VAD, weighted cross entropy over regions, and their changing mixture."""
