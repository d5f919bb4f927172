"""How much a file may claim before it is refused. Every reader asks here *before* it allocates.

A limit is at least twice the largest honest file that is known, and small enough that reading up to it takes a few
hundred MB at most. What is larger is refused with its size, the limit and a way out, and counts as unusable.
"""

from __future__ import annotations

MAX_PIXELS = 40_000_000
"""Samples of an image: twice the largest detector in use (43 x 43 cm at 0.1 mm). ``data.max_pixels`` raises it."""
MAX_ASPECT = 50
"""Times that an image may be as long as wide, or as wide as long. Whole spines are 3; processors refuse 200."""
PILLOW_PIXELS = 178_956_970
"""Beyond this Pillow refuses by itself, so a setting cannot go further."""
BYTES_A_PIXEL = 6
"""An image file has at most so many bytes a permitted pixel, and ``IMAGE_OVERHEAD``: three samples of 16 bits."""
IMAGE_OVERHEAD = 16_000_000
MAX_DICOM_HEADER = 6_000_000
"""Bytes before the pixels of a DICOM file: two overlay planes of the largest detector; others have some kB."""
MAX_DICOM_PIECES = 30_000
"""Pieces in which a DICOM header is read, two an element. An image of one frame has some hundred elements."""
MAX_DICOM_ELEMENT = 1_000_000
"""Bytes of an element that is no pixels; a lookup table has 131,072 at most."""
MAX_PNG_CHUNKS = 100_000
"""Pieces of a PNG file. Writers cut the pixels into 8 kB or more."""
MAX_PNG_TEXT = 4_000_000
"""Bytes of a PNG chunk that is no pixels: the largest are colour profiles and XMP, of up to a MB."""
MAX_FRAMES = 100
"""Frames that are counted before an image is refused; one is right."""

MAX_TABLE_BYTES = 2_000_000_000
"""Of a table, inflated: MIMIC-CXR's sectioned reports, the largest known, have 250 MB."""
MAX_RATIO = 200
"""Inflated bytes a compressed one, from ``RATIO_FROM`` on. Tables shrink 5 to 40 times, repetition 1,000."""
RATIO_FROM = 16_000_000
MAX_LINE = 2_000_000
"""Characters of a line of a table: 400 times a page of text."""
MAX_CELL = 1_000_000
"""Characters of a cell. Python's own limit of 131,072 is less than eight long reasonings joined."""
MAX_COLUMNS = 5_000
"""Radiomics tables have up to two thousand."""
MAX_ROWS = 10_000_000
"""Of a Parquet file, which can claim any number of rows in a few bytes."""

MAX_JSON_BYTES = 250_000_000
"""Of one JSON document, which has to be held whole. JSON lines have no such limit: they are read one by one."""
MAX_JSON_VALUES = 5_000_000
"""Brackets and commas of a document: each may become an object of 64 bytes, where its text has one."""
MAX_JSON_LINE = 16_000_000
"""Bytes of a JSON line: a study with seven teachers' texts has some 20 kB."""

MAX_YAML_BYTES = 2_000_000
"""Of a YAML file; the largest configuration of a run has some 100 kB."""
MAX_YAML_VALUES = 30_000
"""Keys and values of a YAML file with all that its aliases stand for; experiments have some hundred."""
MAX_YAML_DEPTH = 50
"""Lists and mappings inside each other; experiments have six. Parsers recurse, and one in C ends the process."""
MAX_YAML_NUMBER = 300
"""Characters of a number in YAML: the longest floating-point numbers have 25."""
MAX_EXTENDED = 100
"""Files that an experiment extends in all, one that several extend counted for each; the largest has some ten."""

MAX_TOKENIZER_TEXT = 100_000_000
"""Bytes of a file that lists a vocabulary, in a model folder; Gemma's 262,144 words have 33 MB."""
MAX_MODEL_TEXT = 32_000_000
"""Bytes of another text in a model folder: the list of a network's weights by file has up to 9 MB."""

MAX_REPORT = 1_000_000
"""Bytes of a report, as text or XML; the largest known has 9 kB."""
MAX_MEMBERS = 1_000_000
"""Files in an archive; MIMIC-CXR's reports are 227,835."""
MAX_ARCHIVE_BYTES = 256_000_000
"""All files of an archive that is read from beginning to end, inflated: Open-I's reports have 20 MB."""

MAX_ANSWER = 8_000_000
"""Bytes of an endpoint's answer, inflated: 4,096 tokens with 20 log-probs each have some 5 MB."""
