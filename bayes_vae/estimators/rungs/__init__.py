"""The rungs of the ladder towards log p(x): one file each, and a row each in the table of parts."""
