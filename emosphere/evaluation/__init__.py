"""What a model's answers to labelled clips are worth: figures, intervals over speakers, slices, pairs, pictures."""
