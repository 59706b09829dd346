"""The one table of parts that a pair is put together from; no torch here."""
