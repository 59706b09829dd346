"""What is measured of a pair, each number with its standard error: no judgement here."""
