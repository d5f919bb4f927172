"""What a result is known by: the contents of files, and the source that makes them."""
