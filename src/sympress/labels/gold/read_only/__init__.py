"""Formats of annotated notes that are read and not written: doccano, Label Studio, i2b2 2010."""
