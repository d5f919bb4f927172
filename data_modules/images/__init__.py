"""Pixels: image files, DICOM, grey values, resizing, the cache of opened images, augmentation."""
