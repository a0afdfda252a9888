"""From the units of a part to cells of sound: decoders beside the model, or apart on other machines."""
