"""The networks inside a pair: perceptrons, convolutions, and networks that come from elsewhere."""
