"""Teachers' texts as files: one reader, one writer, and the forms of other tools (``importers``)."""
