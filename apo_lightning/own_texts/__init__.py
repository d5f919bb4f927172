"""Texts that somebody asked of teachers in their own way: any usual table or JSON, by the usual names of columns.

`names` says which column is what, `shapes` turns JSON of any usual shape into rows, `reading` reads a file or a folder,
`matching` says which study each text is about. What a run itself writes and reads stays with `trajectories.records`.
"""
