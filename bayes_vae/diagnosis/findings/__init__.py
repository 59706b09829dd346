"""What can be wrong with a pair: each finding with its thresholds, condition, sentence, advice and what it explains."""
