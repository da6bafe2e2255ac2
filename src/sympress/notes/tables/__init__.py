"""Tables as people have them: their columns, their dates, their encodings, and notes in FHIR documents."""
