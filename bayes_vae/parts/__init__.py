"""What a pair is put together from."""
